// fal's client, pointed at Telecine in each of the ways that it allows (no other change).

import { createFalClient } from "@fal-ai/client";

export const EP = "openrouter/router/video";

const MOUNTS = { "fal.run": "", "queue.fal.run": "/queue", "rest.fal.ai": "/rest", "rest.alpha.fal.ai": "/rest" };

/** A URL of fal's on this origin; any other URL as it is. */
export function moved(origin, url) {
  const { host, pathname, search } = new URL(url);
  const mount = MOUNTS[host];
  return mount === undefined ? url : `${origin}${mount}${pathname}${search}`;
}

/** By the proxy route. */
export function proxied({ origin, key }, more = {}) {
  const proxyUrl = { url: `${origin}/api/fal/proxy`, when: "always" };
  return createFalClient({ credentials: key, proxyUrl, ...more });
}

/** By a middleware that rewrites URLs. */
export function mapped({ origin, key }, more = {}) {
  const requestMiddleware = async (request) => ({ ...request, url: moved(origin, request.url) });
  return createFalClient({ credentials: key, requestMiddleware, ...more });
}

/** By a fetch that rewrites URLs. */
export function refetched({ origin, key }, more = {}) {
  const moving = (url, init) => fetch(moved(origin, String(url)), init);
  return createFalClient({ credentials: key, fetch: moving, ...more });
}

/** What a promise was rejected with. Throws if it was not. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return described(error);
  }
  throw new Error("no failure where one belongs");
}

export function described(error) {
  const { name, message, status, body, requestId, timeoutType, isUserTimeout } = error;
  return { kind: error.constructor.name, name, message, status, body, requestId, timeoutType, isUserTimeout };
}

/** All events of a stream, and what done() resolves to. */
export async function collected(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return { events, last: await stream.done() };
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
