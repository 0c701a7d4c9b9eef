// C102, C103: what the client sends again.

import { EP, failure, mapped } from "../clients.mjs";

export async function c102(context) {
  return await mapped(context).run(EP, { input: context.input });
}

export async function c103(context) {
  return await failure(mapped(context).run(EP, { input: context.input }));
}

/** A request that waited longer than its caller bears. */
export async function late(context) {
  const fal = mapped(context);
  const { request_id: requestId } = await fal.queue.submit(EP, { input: context.input, startTimeout: 1.1 });
  await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return await failure(fal.queue.result(EP, { requestId }));
}
