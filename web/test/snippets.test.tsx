import assert from "node:assert/strict";
import { test } from "node:test";
import { literal, quoted, snippets } from "../src/pages/playground/snippets";

test("a literal of Python says what the JSON says", () => {
  assert.equal(literal({ a: [true, null, 1.5, "x\n\"é"] }), '{\n    "a": [\n        True,\n        None,\n        1.5,\n        "x\\n\\"é",\n    ],\n}');
  assert.equal(literal([]), "[]");
});

test("what a shell might read into it is quoted", () => {
  assert.equal(quoted("it's $HOME"), "'it'\\''s $HOME'");
  assert.equal(quoted("https://a.b/c.mp4"), "https://a.b/c.mp4");
});

test("there is no telecine run without a video, or for another endpoint", () => {
  const asked = { origin: "http://a", mode: "run" as const, input: { prompt: "p", model: "m" } };
  const has = (endpoint: string, input: Record<string, unknown>) =>
    snippets({ ...asked, endpoint, input }).some((each) => each.name === "telecine run");
  assert.equal(has("openrouter/router/video", { video_urls: ["http://a/b.mp4"] }), true);
  assert.equal(has("openrouter/router/video", {}), false);
  assert.equal(has("openrouter/router/vision", { image_urls: ["http://a/b.png"] }), false);
});

test("what a way of calling has no words for is told", () => {
  const found = snippets({ origin: "http://a", endpoint: "openrouter/router/video", mode: "run", input: { prompt: "p", model: "m", video_urls: ["u"], fps: 2 } });
  const about = Object.fromEntries(found.map((each) => [each.name, each.about]));
  assert.match(about["OpenAI SDK"] ?? "", /fps/);
  assert.match(about["telecine run"] ?? "", /fps/);
  assert.doesNotMatch(about["JavaScript"] ?? "", /fps/);
});
