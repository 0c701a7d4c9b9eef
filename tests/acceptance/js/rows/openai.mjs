// OpenAI's client, pointed at Telecine with a base URL and a key; nothing else is changed.

import OpenAI from "openai";

function client({ origin, key }, more = {}) {
  return new OpenAI({ baseURL: `${origin}/openrouter/router/openai/v1`, apiKey: key, ...more });
}

async function every(stream) {
  const found = [];
  for await (const one of await stream) found.push(one);
  return found;
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    const { status, code, param, type, message, requestID } = error;
    return { name: error.constructor.name, status, code, param, type, message, requestID };
  }
  throw new Error("nothing was thrown");
}

/** `parts`: what stands in the user's message beside the text. */
export async function chat(context) {
  const openai = client(context);
  const content = [{ type: "text", text: "What is it?" }, ...(context.parts ?? [])];
  const asked = { model: context.model, messages: [{ role: "user", content }], ...context.more };
  const whole = await openai.chat.completions.create(asked);
  const streamed = { ...asked, stream: true, stream_options: { include_usage: true } };
  const chunks = await every(openai.chat.completions.create(streamed));
  const helped = openai.chat.completions.stream(streamed);
  await helped.done();
  return { whole, chunks, helped: await helped.finalChatCompletion() };
}

export async function responses(context) {
  const openai = client(context);
  const asked = { model: context.model, input: "Hello", instructions: "Be brief." };
  const whole = await openai.responses.create(asked);
  const events = await every(openai.responses.create({ ...asked, stream: true }));
  const helped = openai.responses.stream(asked);
  await helped.done();
  const final = await helped.finalResponse();
  return { text: whole.output_text, whole, events, helped: final.output_text };
}

export async function others(context) {
  const openai = client(context);
  const vectors = await openai.embeddings.create({ model: context.embedder, input: ["a", "bc"] });
  const listed = await every(openai.models.list());
  const one = await openai.models.retrieve(context.model);
  return { vectors: vectors.data.map((entry) => [...entry.embedding]), listed, one };
}

export async function failures(context) {
  const openai = client(context);
  const messages = [{ role: "user", content: "Hello" }];
  const create = (model, more = {}) => openai.chat.completions.create({ model, messages, ...more });
  return {
    model: await failure(create("echo/none")),
    body: await failure(openai.chat.completions.create({ model: "echo/echo" })),
    billed: await failure(create("echo/fail-500")),
    missing: await failure(openai.models.retrieve("echo/none")),
    key: await failure(client(context, { apiKey: "no:key" }).models.list()),
    middle: await failure(every(create("echo/fail-after-2-500", { stream: true }))),
  };
}
