// C064-C069: how a queued request is doing.

import { isQueueStatus } from "@fal-ai/client";

import { EP, collected, failure, mapped } from "../clients.mjs";

const UNKNOWN = "00000000-0000-4000-8000-000000000000";

export async function c064(context) {
  const seen = [];
  const { data } = await mapped(context).subscribe(EP, {
    input: context.input,
    logs: true,
    pollInterval: 50,
    onQueueUpdate: (update) => {
      if (update.status !== "IN_QUEUE") seen.push({ status: update.status, logs: update.logs.map((log) => log) });
    },
  });
  return { data, seen };
}

export async function c065(context) {
  const fal = mapped(context);
  return [
    await failure(fal.queue.status(EP, { requestId: UNKNOWN })),
    await failure(fal.queue.result(EP, { requestId: UNKNOWN })),
  ];
}

export async function c067(context) {
  return await mapped(context).subscribe(EP, { input: context.input, pollInterval: 50 });
}

export async function c068(context) {
  const fal = mapped(context);
  const { request_id: requestId } = await fal.queue.submit(EP, { input: context.input });
  const { events, last } = await collected(await fal.queue.streamStatus(EP, { requestId, logs: true }));
  return { requestId, events, last, areStatuses: events.map((event) => Boolean(isQueueStatus(event))) };
}

export async function c069(context) {
  let last;
  const { data } = await mapped(context).subscribe(EP, {
    input: context.input,
    mode: "streaming",
    logs: true,
    onQueueUpdate: (update) => (last = structuredClone(update)),
  });
  return { data, last };
}
