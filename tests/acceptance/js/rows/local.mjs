// The embedded models, in every way that a client has of asking.

import { openAsBlob } from "node:fs";
import { basename } from "node:path";

import { EP, collected, mapped, proxied } from "../clients.mjs";

export async function everything(context) {
  const fal = (context.isProxied ? proxied : mapped)(context);
  const clip = new File([await openAsBlob(context.clip)], basename(context.clip), { type: "video/mp4" });
  const url = await fal.storage.upload(clip);
  const input = { prompt: "Transcribe the video.", model: context.model, video_urls: [url] };
  const messages = [];
  const subscribed = await fal.subscribe(EP, {
    input,
    logs: true,
    pollInterval: 100,
    onQueueUpdate(update) {
      if (update.status !== "IN_QUEUE") update.logs.map((log) => log.message).forEach((m) => messages.push(m));
    },
  });
  const streamed = await collected(await fal.stream(EP, { input }));
  const { request_id: requestId } = await fal.queue.submit(EP, { input });
  await fal.queue.cancel(EP, { requestId });
  await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return { url, messages, subscribed, streamed, cancelled: await fal.queue.status(EP, { requestId }) };
}
