import assert from "node:assert/strict";
import { test } from "node:test";
import { type Model, context, firstChoice, fits, perMillion, priceInWords, search } from "../src/pages/playground/models";

const model = (name: string, more: Partial<Model> = {}): Model => ({
  model: name, provider: name.split("/")[0] ?? "", name, description: null, context_tokens: null,
  takes: { video: ["file"], images: [], audio: [], pdfs: false, hears_videos: false }, price_per_token: null, ...more,
});

test("prices per million are exact decimals", () => {
  assert.equal(perMillion("0.0000003"), "$0.30");
  assert.equal(perMillion("0.00000125"), "$1.25");
  assert.equal(perMillion("0.000075"), "$75");
  assert.equal(perMillion("0.000000000123"), "$0.000123");
  assert.equal(perMillion("-1"), null);
  assert.equal(perMillion(null), null);
});

test("free, unknown and listed prices are told apart", () => {
  const price = { completion: "0", request: "0", source: "operator", dated: null };
  assert.equal(priceInWords({ ...price, prompt: "0" }), "free");
  assert.equal(priceInWords(null), "price unknown");
  assert.equal(priceInWords({ ...price, prompt: "0.000001", completion: null }), "$1 in · ? out per million tokens");
});

test("a search finds all words, in names before descriptions", () => {
  const models = [model("a/one", { description: "like flash" }), model("google/gemini-flash"), model("google/gemini-pro")];
  assert.deepEqual(search(models, "flash").map((each) => each.model), ["google/gemini-flash", "a/one"]);
  assert.deepEqual(search(models, "gemini pro").map((each) => each.model), ["google/gemini-pro"]);
});

test("the first choice is the schema's example where it can be had, else what fits", () => {
  const models = [model("echo/echo"), model("openrouter/google/gemini-2.5-flash")];
  assert.equal(firstChoice(models, {}, ["google/gemini-2.5-flash"]), "openrouter/google/gemini-2.5-flash");
  assert.equal(firstChoice([model("local/report")], {}, ["google/gemini-2.5-flash"]), "local/report");
  assert.equal(firstChoice(models, { "my/flash": "x" }, ["my/flash"]), "my/flash");
  assert.equal(firstChoice([], {}, []), "");
});

test("a model fits when it takes what the endpoint is for", () => {
  assert.equal(fits(model("a/b"), ["video"]), true);
  assert.equal(fits(model("a/b"), ["image", "pdf"]), false);
  assert.equal(fits(model("a/b", { takes: null }), ["video"]), false);
  assert.equal(fits(model("a/b", { takes: null }), []), true);
});

test("contexts are short", () => {
  assert.equal(context(1_048_576), "1M context");
  assert.equal(context(32_768), "33k context");
  assert.equal(context(null), "");
});
