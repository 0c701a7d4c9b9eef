// C017, C018: which id a client asks about, and which one it sends.

import { EP, failure, mapped } from "../clients.mjs";

export async function c017(context) {
  const fal = mapped(context);
  const { request_id: requestId } = await fal.queue.submit(`${EP}/enterprise`, { input: context.input });
  return { requestId, status: await fal.queue.status(`${EP}/enterprise`, { requestId }) };
}

export async function c018(context) {
  const fal = mapped(context);
  const requestId = "00000000-0000-4000-8000-000000000000";
  return [
    await failure(fal.queue.status("workflows/me/flow/x", { requestId })),
    await failure(fal.queue.status("comfy/me/flow", { requestId })),
  ];
}
