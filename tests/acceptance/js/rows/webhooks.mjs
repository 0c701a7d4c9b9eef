// C082, C083: submits that name a webhook.

import { EP, mapped } from "../clients.mjs";

export async function submitted(context) {
  const fal = mapped(context);
  const { webhookUrl, input } = context;
  const { request_id: requestId } = await fal.queue.submit(EP, { input, webhookUrl });
  await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return requestId;
}
