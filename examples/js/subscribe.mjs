// Through the queue, with progress: node subscribe.mjs clip.mp4

import { openAsBlob } from "node:fs";
import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: `${process.env.TELECINE_URL ?? "http://127.0.0.1:8484"}/api/fal/proxy`, when: "always" },
});

const result = await fal.subscribe("openrouter/router/video", {
  input: {
    prompt: "What is said?",
    model: "local/report",
    // A Blob or File in the input is uploaded by the client; URLs and data URIs go as they are.
    video_urls: [await openAsBlob(process.argv[2], { type: "video/mp4" })],
  },
  logs: true,
  onQueueUpdate: (update) => {
    if (update.status === "IN_PROGRESS") {
      update.logs.map((log) => log.message).forEach((message) => console.error(message));
    }
  },
});
console.log(result.data.output);
console.log(result.data.usage, result.requestId);
