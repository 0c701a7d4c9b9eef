// C025-C034: synchronous run.

import { EP, failure, mapped } from "../clients.mjs";

export async function c025(context) {
  return await mapped(context).run(EP, { input: context.input, startTimeout: 5 });
}

export async function c026(context) {
  return await mapped(context).run(EP, { input: context.input, storageSettings: { expiresIn: "1h" } });
}

export async function c027(context) {
  return await failure(mapped(context).run(EP));
}

export async function c030(context) {
  return await failure(mapped(context).run("openrouter/router/nope", { input: context.input }));
}

export async function wrong_key(context) {
  return await failure(mapped(context).run(EP, { input: context.input }));
}

export async function c034(context) {
  const stop = new AbortController();
  const ended = failure(mapped(context).run(EP, { input: context.input, abortSignal: stop.signal }));
  await context.told();
  stop.abort();
  return await ended;
}
