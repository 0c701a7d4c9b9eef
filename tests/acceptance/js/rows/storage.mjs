// C089-C101: tokens, uploads, data URIs.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

import { EP, collected, mapped, moved, proxied } from "../clients.mjs";

/** So many bytes, no two stretches of them alike. */
function patterned(size) {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let n = 0; n < words.length; n++) words[n] = n;
  return Buffer.from(words.buffer, 0, size);
}

// The client makes tokens by itself only for what a page asks directly.
export async function c089(context) {
  const fal = proxied(context, { fetch: (url, init) => fetch(moved(context.origin, String(url)), init) });
  return await collected(await fal.stream(EP, { input: context.input, connectionMode: "client" }));
}

export async function upload(context) {
  const bytes = context.size ? patterned(context.size) : await readFile(context.path);
  const file = new File([bytes], "a clip.mp4", { type: "video/mp4" });
  const url = await mapped(context).storage.upload(file, context.options);
  return { url, sha256: createHash("sha256").update(bytes).digest("hex") };
}

export async function c094(context) {
  const blob = new Blob([await readFile(context.path)], { type: "video/mp4" });
  const input = { ...context.input, video_urls: [blob] };
  return await mapped(context).run(EP, { input });
}

export async function c101(context) {
  const uri = `data:video/mp4;base64,${(await readFile(context.path)).toString("base64")}`;
  const fal = mapped(context);
  const { request_id: requestId } = await fal.queue.submit(EP, { input: { ...context.input, video_urls: [uri] } });
  await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return { length: uri.length, output: (await fal.queue.result(EP, { requestId })).data.output };
}
