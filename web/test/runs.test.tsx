import assert from "node:assert/strict";
import { test } from "node:test";
import { line } from "../src/lines";
import type { Run } from "../src/runs";

type Answer = (method: string, target: string, headers: Headers) => Response | Promise<Response>;
let answer: Answer = () => new Response("{}");
// fal's client takes what is there when it is made.
globalThis.fetch = async (to, options = {}) => {
  const headers = new Headers(options.headers);
  return answer(options.method ?? "GET", headers.get("x-fal-target-url") ?? String(to), headers);
};
const { start } = await import("../src/runs");

const json = (value: unknown) => new Response(JSON.stringify(value), { headers: { "content-type": "application/json" } });
const INPUT = { prompt: "p", model: "m" };

test("four lines are given out, and a fifth when one is given back", async () => {
  const held = [await line(), await line(), await line(), await line()];
  assert.equal(held.includes(null), false);
  assert.equal(await line(), null);
  held[1]?.();
  const again = await line();
  assert.notEqual(again, null);
  for (const free of [held[0], again, held[2], held[3]]) free?.();
});

test("what other tabs hold is not given out here", async () => {
  const taken = new Set(["telecine.line.1", "telecine.line.2", "telecine.line.4"]);
  const locks = {
    request: async (name: string, _: unknown, work: (lock: object | null) => Promise<void> | void) => {
      if (taken.has(name)) return work(null);
      taken.add(name);
      await work({});
      taken.delete(name);
    },
  };
  Object.defineProperty(navigator, "locks", { value: locks, configurable: true });
  const free = await line();
  assert.equal(taken.has("telecine.line.3"), true);
  assert.equal(await line(), null);
  free?.();
  await Promise.resolve();
  assert.equal(taken.has("telecine.line.3"), false);
  Object.defineProperty(navigator, "locks", { value: undefined, configurable: true });
});

test("a stream without a line goes through the queue, once, and its text is seen to grow", async () => {
  const held = [await line(), await line(), await line(), await line()];
  const texts = ["one", "one two"];
  let submitted: Headers | null = null;
  answer = (method, target, headers) => {
    const path = new URL(target, "http://here").pathname;
    if (method === "POST") {
      submitted = headers;
      return json({ request_id: "r" });
    }
    if (path === "/telecine/v1/requests/r") return json({ output_so_far: texts.shift() ?? null });
    if (path.endsWith("/status")) return json({ status: texts.length ? "IN_PROGRESS" : "COMPLETED", logs: [] });
    return json({ output: "one two three", usage: { cost: 0 } });
  };
  const seen: Run[] = [];
  const run = await start("openrouter/router/video", INPUT, "stream", (state) => seen.push(state)).ended;
  assert.equal(submitted!.get("x-fal-no-retry"), "1");
  assert.deepEqual([...new Set(seen.map(({ text }) => text).filter(Boolean))], ["one", "one two", "one two three"]);
  assert.deepEqual([run.phase, run.requestId, run.mode], ["done", "r", "stream"]);
  held.forEach((free) => free?.());
});

test("a server that starts again does not end what is in its queue", async () => {
  const states = ["IN_PROGRESS", "away", "away", "COMPLETED"];
  answer = (method, target) => {
    const path = new URL(target, "http://here").pathname;
    if (method === "POST") return json({ request_id: "r" });
    if (!path.endsWith("/status/stream")) return json({ output: "all of it", usage: { cost: 0 } });
    const state = states.shift();
    if (state === "away") throw new TypeError("Failed to fetch");
    return events({ status: state, logs: [] });
  };
  const seen: Run[] = [];
  const run = await start("openrouter/router/video", INPUT, "queue", (state) => seen.push(state)).ended;
  assert.deepEqual([run.phase, run.text, run.isAway], ["done", "all of it", false]);
  assert.equal(seen.some(({ isAway }) => isAway), true);
});

const events = (...all: unknown[]) =>
  new Response(all.map((each) => `data: ${JSON.stringify(each)}\n\n`).join(""), { headers: { "content-type": "text/event-stream" } });

for (const [mode, isCancelled] of [["leave", false], ["stop", true]] as const) {
  test(`${mode}: what is in the queue ${isCancelled ? "is cancelled" : "goes on"}`, async () => {
    const asked: string[] = [];
    let hangUp = () => {};
    answer = (method, target) => {
      const path = new URL(target, "http://here").pathname;
      asked.push(`${method} ${path}`);
      if (method === "POST") return json({ request_id: "r" });
      if (method === "PUT") {
        hangUp();
        return json({ status: "CANCELLATION_REQUESTED" });
      }
      const body = new ReadableStream({ start: (stream) => void (hangUp = () => stream.close()) });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    const handle = start("openrouter/router/video", INPUT, "queue", () => {});
    await new Promise<void>((seen) => {
      const look = () => (asked.some((each) => each.endsWith("/status/stream")) ? seen() : setTimeout(look, 5));
      look();
    });
    handle[mode]();
    assert.equal((await handle.ended).phase, "cancelled");
    assert.equal(asked.some((each) => each.startsWith("PUT")), isCancelled);
  });
}

test("an answer that breaks off is no failure of the model's", async () => {
  const broken = new ReadableStream({
    start(stream) {
      stream.enqueue(new TextEncoder().encode('data: {"output": "one"}\n\n'));
      setTimeout(() => stream.error(new TypeError("network error")), 20);
    },
  });
  answer = () => new Response(broken, { headers: { "content-type": "text/event-stream" } });
  const run = await start("openrouter/router/video", INPUT, "stream", () => {}).ended;
  assert.deepEqual([run.phase, run.text, run.failure?.status], ["failed", "one", 0]);
  assert.match(run.failure?.message ?? "", /Is telecine serve still running/);
});

test("a call gives its line back when it has ended, however it ends", async () => {
  answer = () => new Response("{}", { status: 500 });
  for (let time = 0; time < 5; time++) {
    const run = await start("openrouter/router/video", INPUT, "run", () => {}).ended;
    assert.equal(run.phase, "failed");
  }
  const held = [await line(), await line(), await line(), await line()];
  assert.equal(held.includes(null), false);
  held.forEach((free) => free?.());
});
