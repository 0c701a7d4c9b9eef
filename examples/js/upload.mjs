// Upload once, ask twice: node upload.mjs clip.mp4

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: `${process.env.TELECINE_URL ?? "http://127.0.0.1:8484"}/api/fal/proxy`, when: "always" },
});

const path = process.argv[2];
const file = new File([await readFile(path)], basename(path), { type: "video/mp4" });
const url = await fal.storage.upload(file);
console.error(url);

for (const prompt of ["What is said?", "What is said? As SRT."]) {
  const result = await fal.subscribe("openrouter/router/video", {
    input: { prompt, model: "local/report", video_urls: [url] },
  });
  console.log(result.data.output);
}
