// C071-C080: results, and calling requests off.

import { ValidationError } from "@fal-ai/client";

import { EP, failure, mapped } from "../clients.mjs";

export async function c071(context) {
  const statuses = [];
  try {
    await mapped(context).subscribe(EP, {
      input: context.input,
      pollInterval: 50,
      onQueueUpdate: (update) => statuses.push(update.status),
    });
  } catch (error) {
    return {
      statuses,
      isValidationError: error instanceof ValidationError,
      status: error.status,
      fields: error.getFieldErrors("temperature"),
    };
  }
  throw new Error("a temperature of 3 was taken");
}

/** What reading the result fails with. */
export async function early(context) {
  return await failure(mapped(context).queue.result(EP, { requestId: context.requestId }));
}

export async function c074(context) {
  const fal = mapped(context);
  const { requestId } = context;
  return [await fal.queue.result(EP, { requestId }), await fal.queue.result(EP, { requestId })];
}

/** Cancels, and asks what became of it. */
export async function cancelled(context) {
  const fal = mapped(context);
  const { requestId } = context;
  const resolved = await fal.queue.cancel(EP, { requestId });
  const status = await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return { resolved: resolved ?? null, status, error: await failure(fal.queue.result(EP, { requestId })) };
}

export async function c078(context) {
  return await failure(mapped(context).queue.cancel(EP, { requestId: context.requestId }));
}

export async function c080(context) {
  const fal = mapped(context);
  let requestId;
  const error = await failure(
    fal.subscribe(EP, { input: context.input, timeout: 1000, onEnqueue: (id) => (requestId = id) }),
  );
  // The client does not wait for its own cancel.
  await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return { requestId, error };
}
