import assert from "node:assert/strict";
import { test } from "node:test";
import { sumInWords } from "../src/pages/playground/estimate";
import { type Column, cost, fresh, moved, opened, stable, times } from "../src/pages/sandbox/columns";
import { compared, costInWords } from "../src/pages/sandbox/compare";
import { asJson, asMarkdown, fileName } from "../src/pages/sandbox/export";

const medium = (sent: object | null, more: object = {}) => ({
  index: 0, found: "upload", origin: "a.mp4", seconds: 11, width: 640, height: 360, audio_codec: "aac", seen: "yes", sent, ...more,
});

const receipt = (sent: object | null, more: object = {}) => ({
  request_id: "r", model: "m", provider: "p", provider_model: "m", videos: [medium(sent)], images: [], audio: [], documents: [], plan: null,
  fallbacks: [], upstream: null, warnings: [], error: null, usage: { prompt_tokens: 2000, completion_tokens: 5, prompt_tokens_by_modality: { audio: 60 } },
  cost: { usd: "0.0012", source: "computed" }, seconds: { first_text: 0.5, total: 2 }, ...more,
});

const saved = (model: string, output: string, proof: object | null, more: object = {}) => ({
  model,
  request_id: "r",
  result: { model, state: "succeeded", error: null, error_type: null, output, is_cut: false, is_of_this_input: true, receipt: proof, ...more },
});

const sandbox = (...columns: object[]): any => ({
  sandbox_id: "s", link: null, name: "N", endpoint: "openrouter/router/video", may_change: true, input: { prompt: "What?\nAnd?" }, columns, updated_at: "",
});

const pair = (...columns: object[]) => opened(sandbox(...columns)) as [Column, Column];

const lines = (...columns: object[]) => Object.fromEntries(compared(opened(sandbox(...columns))).map((line: any) => [line.name, line]));

test("a table says what each was given, and where they differ", () => {
  const found = lines(
    saved("a", "", receipt({ as: "file", bytes: 1, seconds: 11 })),
    saved("b", "", receipt({ as: "frames", frames: 12, fps: 1, width: 512, height: 288, transcript: true })),
  );
  assert.deepEqual(found["Sent as"].values, ["the file", "pictures"]);
  assert.deepEqual(found["Frames"].values, ["–", "12, 1 per second"]);
  assert.deepEqual(found["Size"].values, ["640×360", "512×288"]);
  assert.deepEqual(found["Sound"].values, ["sent, heard: 60 tokens", "as a transcript"]);
  assert.equal(found["Sent as"].differs, true);
  assert.equal(found["Seen"].differs, false);
});

test("what was cut out of a video is told as a stretch", () => {
  const plan = { videos: [{ index: 0, as: "file", view: { start: 2, end: 5 }, why: [] }] };
  const found = lines(saved("a", "", receipt({ as: "file", prepared: { width: 320, height: 180, fps: 5, audio: false } }, { plan })));
  assert.deepEqual(found["Seconds"].values, ["2 to 5"]);
  assert.deepEqual(found["Sound"].values, ["not sent"]);
  assert.deepEqual(found["Sent as"].values, ["the file, made to fit"]);
});

test("several videos have lines of their own", () => {
  const both = receipt({ as: "file" }, { videos: [medium({ as: "file" }), medium(null, { index: 1 })] });
  const found = lines(saved("a", "", both));
  assert.deepEqual(found["Video 2: sent as"].values, ["not sent"]);
});

test("nothing is said of columns that have not run", () => {
  assert.deepEqual(compared([fresh("a"), fresh("b")]), []);
});

test("a cost has its source, and a cost that nobody knows is not nothing", () => {
  const [known, unknown] = pair(
    saved("a", "", receipt({ as: "file" })), saved("b", "", receipt({ as: "file" }, { cost: { usd: null, source: "unknown" } })),
  );
  assert.equal(costInWords(known), "$0.0012 (computed from a listed price)");
  assert.equal(costInWords(unknown), "unknown");
  assert.equal(cost(fresh("a")), null);
  assert.deepEqual(times(known), { first: 0.5, total: 2 });
});

test("a failure that was saved is one when it is opened", () => {
  const [column] = pair(saved("a", "", null, { state: "failed", error: "too much" }));
  assert.equal(column.run.phase, "failed");
  assert.equal(column.run.failure?.message, "too much");
});

test("an answer to an earlier input is known as one", () => {
  const [same, other] = pair(saved("a", "", null), saved("b", "", null, { is_of_this_input: false }));
  assert.equal(same.asked, stable({ prompt: "What?\nAnd?" }));
  assert.notEqual(other.asked, same.asked);
  assert.equal(stable({ a: 1, b: { d: [1, 2], c: 3 } }), stable({ b: { c: 3, d: [1, 2] }, a: 1 }));
  assert.notEqual(stable({ a: [1, 2] }), stable({ a: [2, 1] }));
});

test("columns move within their row", () => {
  assert.deepEqual(moved([1, 2, 3], 0, 1), [2, 1, 3]);
  assert.deepEqual(moved([1, 2, 3], 2, 1), [1, 2, 3]);
  assert.deepEqual(moved([1, 2, 3], 0, -1), [1, 2, 3]);
});

test("Markdown to take away has the question, the table and the answers, and stays in order", () => {
  const columns = opened(sandbox(saved("a|b", "# Big\n```\n# code\n```", receipt({ as: "file" })), saved("c", "short", null)));
  const text = asMarkdown({ name: "N", endpoint: "e", input: { prompt: "What?\nAnd?", fps: 2 }, columns });
  assert.ok(text.startsWith("# N\n\n`e`\n\n> What?\n> And?\n\n```json\n{\n  \"fps\": 2\n}\n```\n\n|"));
  assert.ok(text.includes("| **a\\|b** | **c** |"));
  assert.ok(text.includes("\n### Big\n```\n# code\n```"));
  assert.ok(text.endsWith("## c\n\nshort\n"));
});

test("JSON to take away has everything, with the receipts", () => {
  const columns = opened(sandbox(saved("a", "yes", receipt({ as: "file" }))));
  const [result] = JSON.parse(asJson({ name: "N", endpoint: "e", input: {}, columns })).results;
  assert.equal(result.output, "yes");
  assert.equal(result.receipt.videos[0].sent.as, "file");
  assert.deepEqual(result.cost, { usd: "0.0012", source: "computed" });
});

test("what people typed is no HTML for whatever shows the file", () => {
  const columns = [{ ...fresh("m/<img src=x onerror=alert(1)>"), run: { ...fresh("").run, phase: "failed" as const, failure: { message: "<b>", status: 0, problems: [] } } }];
  const text = asMarkdown({ name: "<script>", endpoint: "e", input: { prompt: "<svg onload=x>" }, columns });
  assert.equal(/<(img|script|svg|b)/.test(text), false, text);
});

test("a file is named after the sandbox", () => {
  assert.equal(fileName("JFK, three ways!", "md"), "jfk-three-ways.md");
  assert.equal(fileName("../..", "json"), "sandbox.json");
  assert.equal(fileName("Übersicht", "md"), "übersicht.md");
});

const priced = (low: string | null, high: string | null, source: string | null = "catalog") => ({ cost: { low, high, source, dated: null } });

test("what all may cost together is exact, and says what nobody knows", () => {
  assert.equal(sumInWords([priced("0.0012", "0.003"), priced("0.1", "0.2")]), "$0.101 to $0.203");
  assert.equal(sumInWords([priced("0.0012", null), priced("0.1", "0.2")]), "From $0.101");
  assert.equal(sumInWords([priced("0.1", "0.1"), priced(null, null, null)]), "$0.10, and 1 of which nobody knows");
  assert.equal(sumInWords([priced("0", "0", "free"), priced("0.1", "0.1")]), "$0.10");
  assert.equal(sumInWords([priced(null, null, "free")]), "Free");
  assert.equal(sumInWords([priced(null, null, null)]), "Cost not known beforehand");
});
