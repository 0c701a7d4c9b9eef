// A program as fal's page has it; nothing in it knows of Telecine:
//
//     telecine exec -- node upload.mjs clip.mp4

import { readFile } from "node:fs/promises";
import { fal } from "@fal-ai/client";

const file = new File([await readFile(process.argv[2])], "clip.mp4", { type: "video/mp4" });
const url = await fal.storage.upload(file);

const stream = await fal.stream("openrouter/router/video", {
  input: {
    prompt: "What is said?",
    model: "google/gemini-2.5-flash",
    video_urls: [url],
  },
});
for await (const event of stream) {
  console.error(event);
}
const result = await stream.done();
console.log(result.output);
