// At once, without the queue: node run.mjs clip.mp4

import { openAsBlob } from "node:fs";
import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: `${process.env.TELECINE_URL ?? "http://127.0.0.1:8484"}/api/fal/proxy`, when: "always" },
});

const result = await fal.run("openrouter/router/video", {
  input: {
    prompt: "What is said?",
    model: "local/report",
    video_urls: [await openAsBlob(process.argv[2], { type: "video/mp4" })],
  },
});
console.log(result.data.output);
