// C001-C016: every way to point fal's clients at Telecine.

import { createServer } from "node:http";
import Module from "node:module";
import { Readable } from "node:stream";

import { EP, collected, mapped, moved, proxied, refetched } from "../clients.mjs";

export async function c001(context) {
  return await proxied(context).run(EP, { input: context.input });
}

export async function c002(context) {
  const fal = proxied(context);
  const { data, requestId } = await fal.subscribe(EP, { input: context.input, pollInterval: 50 });
  const { request_id: other } = await fal.queue.submit(EP, { input: { prompt: "x", model: "echo/wait-60" } });
  await fal.queue.cancel(EP, { requestId: other });
  return { data, requestId };
}

export async function c003(context) {
  return await mapped(context).subscribe(EP, { input: context.input, pollInterval: 50 });
}

export async function c004(context) {
  const fal = refetched(context);
  const run = await fal.run(EP, { input: context.input });
  const stream = await collected(await fal.stream(EP, { input: context.input }));
  const url = await fal.storage.upload(new File(["hello"], "a.mp4", { type: "video/mp4" }));
  return { run, stream, url };
}

export async function c014(context) {
  const { default: old } = await import("@fal-ai/serverless-client");
  const requestMiddleware = async (request) => ({ ...request, url: moved(context.origin, request.url) });
  old.config({ credentials: context.key, requestMiddleware });
  return await old.subscribe(EP, { input: context.input, pollInterval: 50 });
}

// The official proxy's adapter for Next's app router. Next itself is not needed for it: the one thing
// that it takes from there, NextResponse, is Response with nothing that matters here added.
async function officialProxy({ origin, key }) {
  const load = Module._load;
  Module._load = (name, ...more) => (name === "next/server" ? { NextResponse: Response } : load(name, ...more));
  const { createRouteHandler } = (await import("@fal-ai/server-proxy/nextjs")).default;
  const route = createRouteHandler({
    allowedUrlPatterns: [`${new URL(origin).host}/**`],
    allowedEndpoints: ["**"],
    allowUnauthorizedRequests: true,
    isAuthenticated: async () => true,
    resolveFalAuth: async () => `Key ${key}`,
  });
  const server = createServer(async (message, answer) => {
    const hasBody = message.method !== "GET";
    const request = new Request(`http://proxy.example${message.url}`, {
      method: message.method,
      headers: message.headers,
      ...(hasBody && { body: Readable.toWeb(message), duplex: "half" }),
    });
    const response = await route[message.method](request);
    const headers = Object.fromEntries(response.headers);
    // fetch has unpacked and unchunked the body already.
    for (const name of ["content-encoding", "content-length", "transfer-encoding"]) delete headers[name];
    answer.writeHead(response.status, headers);
    for await (const chunk of response.body ?? []) answer.write(chunk);
    answer.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}/api/fal/proxy`;
}

export async function c015(context) {
  const { createFalClient } = await import("@fal-ai/client");
  const url = await officialProxy(context);
  const fal = createFalClient({
    proxyUrl: { url, when: "always" },
    requestMiddleware: async (request) => ({ ...request, url: moved(context.origin, request.url) }),
  });
  return {
    run: await fal.run(EP, { input: context.input }),
    queue: await fal.subscribe(EP, { input: context.input, pollInterval: 50 }),
    stream: await collected(await fal.stream(EP, { input: context.counting })),
  };
}
