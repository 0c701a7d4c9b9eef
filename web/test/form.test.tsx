import assert from "node:assert/strict";
import { test } from "node:test";
import { groups, inputFrom, mediaFrom, placed, valuesFrom } from "../src/pages/playground/form";
import type { FieldSchema } from "../src/schema";

const field = (name: string, more: Partial<FieldSchema> = {}): FieldSchema => ({
  name, title: name, description: "", kind: "text", required: false, default: null, choices: [], minimum: null, maximum: null, examples: [], ...more,
});

const FIELDS = [
  field("video_urls", { kind: "list" }),
  field("prompt", { kind: "long", required: true }),
  field("reasoning", { kind: "boolean", default: false }),
  field("temperature", { kind: "number", default: 1 }),
  field("video_url"),
  field("start", { kind: "number" }),
  field("audio", { kind: "boolean" }),
  field("seed", { kind: "integer" }),
  field("stop", { kind: "list" }),
  field("response_format", { kind: "json" }),
];

test("fal's fields come first, the player has its own, the rest stands under More", () => {
  const names = Object.fromEntries(Object.entries(groups(FIELDS)).map(([name, each]) => [name, each.map((one) => one.name)]));
  assert.deepEqual(names, {
    media: ["video_urls"],
    player: ["start"],
    first: ["prompt", "reasoning", "temperature"],
    more: ["audio", "seed", "stop", "response_format"],
  });
});

test("only what differs from the defaults is sent", () => {
  const values = { prompt: "", reasoning: "", temperature: "1", seed: "", audio: "", stop: "\n" };
  assert.deepEqual(inputFrom(FIELDS, values, {}).input, { prompt: "" });
});

test("what was typed becomes what the schema means", () => {
  const values = { prompt: "p", reasoning: "high", temperature: "0.5", audio: "false", seed: "7", stop: "a\nb c", response_format: '{"type": "json_object"}' };
  assert.deepEqual(inputFrom(FIELDS, values, { video_urls: ["u"] }).input, {
    video_urls: ["u"], prompt: "p", reasoning: "high", temperature: 0.5, audio: false, seed: 7, stop: ["a", "b c"], response_format: { type: "json_object" },
  });
});

test("a moment stays as it was written, and so does nonsense: the server judges it", () => {
  assert.equal(inputFrom(FIELDS, { start: "1:30" }, {}).input["start"], "1:30");
  assert.equal(inputFrom(FIELDS, { temperature: "warm" }, {}).input["temperature"], "warm");
});

test("a number that a browser would change is refused, as is JSON that is none", () => {
  const { input, problems } = inputFrom(FIELDS, { seed: "9007199254740993", response_format: "{" }, {});
  assert.deepEqual(input, {});
  assert.deepEqual(Object.keys(problems), ["seed", "response_format"]);
});

test("an input that is opened again gives the same input", () => {
  const input = { video_urls: ["u", "v"], prompt: "p", reasoning: true, start: "1:30", audio: false, stop: ["a"], response_format: { type: "text" } };
  assert.deepEqual(inputFrom(FIELDS, valuesFrom(FIELDS, input), mediaFrom(FIELDS, input)).input, input);
  assert.deepEqual(mediaFrom(FIELDS, { video_url: "u" }), { video_urls: ["u"] });
});

test("a complaint stands at its field, with the number of the item", () => {
  const { at, others } = placed(
    [
      { loc: ["body", "video_urls", 1], msg: "Not found" },
      { loc: ["body", "video_url"], msg: "Both" },
      { loc: ["body"], msg: "Elsewhere" },
    ],
    FIELDS,
  );
  assert.deepEqual(at, { video_urls: "No. 2: Not found Both" });
  assert.deepEqual(others, ["Elsewhere"]);
});
