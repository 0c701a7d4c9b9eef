// C051-C056: into the queue.

import { EP, failure, mapped, proxied } from "../clients.mjs";

export async function c051(context) {
  return await mapped(context).queue.submit(EP, { input: context.input });
}

export async function c052(context) {
  return await mapped(context).queue.submit(EP, {
    input: context.input,
    priority: "low",
    hint: "a",
    headers: { "x-fal-tags": "unknown", "X-My-Own": "1" },
  });
}

export async function c054(context) {
  const fal = proxied(context);
  const submitted = await fal.queue.submit(EP, { input: context.input });
  const requestId = submitted.request_id;
  await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 50 });
  return { submitted, error: await failure(fal.queue.result(EP, { requestId })) };
}

export async function c056(context) {
  const fal = mapped(context);
  const submitted = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      fal.queue.submit(EP, { input: { prompt: `job ${n}`, model: "echo/echo" } }),
    ),
  );
  const ids = submitted.map((status) => status.request_id);
  const results = await Promise.all(
    ids.map(async (requestId) => {
      await fal.queue.subscribeToStatus(EP, { requestId, pollInterval: 100 });
      return (await fal.queue.result(EP, { requestId })).data.output;
    }),
  );
  return { ids, results };
}
