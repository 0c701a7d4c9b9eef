// C035-C049: the answer as it grows.

import { EP, collected, described, failure, mapped, proxied, refetched } from "../clients.mjs";

export async function all(context) {
  return await collected(await proxied(context).stream(EP, { input: context.input }));
}

/** Only what listeners see, and how done() ends. */
export async function told(context) {
  const stream = await mapped(context).stream(context.endpoint ?? EP, { input: context.input });
  const errors = [];
  const data = [];
  stream.on("error", (error) => errors.push(described(error)));
  stream.on("data", (event) => data.push(event));
  try {
    return { errors, data, last: await stream.done() };
  } catch (error) {
    return { errors, data, rejected: described(error) };
  }
}

export async function run_too(context) {
  const fal = mapped(context);
  const { data } = await fal.run(EP, { input: context.input });
  return { run: data, stream: await collected(await fal.stream(EP, { input: context.input })) };
}

export async function c045(context) {
  const stream = await mapped(context).stream(EP, { input: context.input });
  let first;
  stream.on("data", (event) => {
    first ??= event;
    stream.abort();
  });
  return { last: await stream.done(), first };
}

export async function c046(context) {
  const stream = await refetched(context).stream(EP, { input: context.input, connectionMode: "client" });
  return await collected(stream);
}

export async function c047(context) {
  const stream = await refetched(context).stream(EP, {
    input: context.input,
    connectionMode: "client",
    tokenProvider: async () => context.token,
  });
  const iterated = (async () => {
    for await (const _ of stream);
  })();
  const error = await failure(stream.done());
  await iterated;
  return error;
}

export async function named(context) {
  return await collected(await mapped(context).stream(context.endpoint, { input: context.input }));
}
