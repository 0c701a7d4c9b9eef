// Any model, from a program that has fal's client and a file.

import { readFile } from "node:fs/promises";

import { EP, collected, mapped } from "../clients.mjs";

/** Every model is asked in each of the three ways: about a file, an address and a data URI. */
export async function asked({ models, path, url, prompt, ...context }) {
  const fal = mapped(context);
  const bytes = await readFile(path);
  const uri = `data:video/mp4;base64,${bytes.toString("base64")}`;
  const input = (model, video) => ({ prompt, model, video_urls: [video], receipt: true });
  const answers = {};
  for (const model of models) {
    const file = new File([bytes], "clip.mp4", { type: "video/mp4" });
    const run = await fal.run(EP, { input: input(model, file) });
    const stream = await collected(await fal.stream(EP, { input: input(model, url) }));
    const queue = await fal.subscribe(EP, { input: input(model, uri), pollInterval: 50 });
    answers[model] = [run.data, stream.last, queue.data];
  }
  return answers;
}
