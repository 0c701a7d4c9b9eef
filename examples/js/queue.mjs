// Submit now, ask later, perhaps from another program: node queue.mjs clip.mp4

import { openAsBlob } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: `${process.env.TELECINE_URL ?? "http://127.0.0.1:8484"}/api/fal/proxy`, when: "always" },
});

const { request_id: requestId } = await fal.queue.submit("openrouter/router/video", {
  input: {
    prompt: "What is said?",
    model: "local/report",
    video_urls: [await openAsBlob(process.argv[2], { type: "video/mp4" })],
  },
});

let status;
do {
  await sleep(500);
  status = await fal.queue.status("openrouter/router/video", { requestId, logs: true });
  console.error(status.status, status.queue_position ?? "");
} while (status.status !== "COMPLETED");

const result = await fal.queue.result("openrouter/router/video", { requestId });
console.log(result.data.output);
