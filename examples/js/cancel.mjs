// Take a request back: node cancel.mjs clip.mp4

import { openAsBlob } from "node:fs";
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
await fal.queue.cancel("openrouter/router/video", { requestId });
const status = await fal.queue.subscribeToStatus("openrouter/router/video", { requestId });
console.log(status.status, status.error); // fal has no status CANCELLED: it is COMPLETED, with an error
