import assert from "node:assert/strict";
import { test } from "node:test";
import { Result, remedy } from "../src/pages/playground/result";
import { ReceiptView, type Receipt, stages } from "../src/pages/playground/receipt";
import { IDLE, type Run } from "../src/runs";
import { find, settled, show } from "./dom";

const run = (more: Partial<Run>): Run => ({ ...IDLE, ...more });

async function shown(more: Partial<Run>, isUploading = false) {
  const place = show(<Result run={run(more)} isUploading={isUploading} onSeek={() => {}} />);
  await settled();
  return place;
}

for (const [more, isUploading, said] of [
  [{}, false, "Idle"],
  [{}, true, "Uploading"],
  [{ phase: "queued", position: 3 }, false, "In the queue, position 3"],
  [{ phase: "queued", position: 0 }, false, "In the queue, next"],
  [{ phase: "running" }, false, "Running"],
  [{ phase: "streaming", text: "a" }, false, "Answering"],
  [{ phase: "cancelled" }, false, "Stopped"],
] as const) {
  test(`the state is told as it is: ${said}`, async () => {
    const place = await shown(more, isUploading);
    assert.equal(find(place, "[role=status]").textContent, said);
    place.close();
  });
}

test("a failure says why and what to do, and what had come stays", async () => {
  const failure = { message: "it broke", status: 503, problems: [] };
  const place = await shown({ phase: "failed", failure, text: "half an answer" });
  assert.match(find(place, "[role=alert]").textContent ?? "", /it broke.*run it again/);
  assert.match(find(place, ".markdown").textContent ?? "", /half an answer/);
  place.close();
});

test("nobody is told to run again what may have been billed", () => {
  assert.doesNotMatch(remedy({ status: 500, problems: [] }), /^Nothing/);
  assert.match(remedy({ status: 500, problems: [] }), /billed/);
});

test("the text that streams in is in no live region", async () => {
  const place = await shown({ phase: "streaming", text: "word" });
  assert.equal(find(place, ".body").closest("[aria-live], [role=status], [role=log]"), null);
  place.close();
});

const RECEIPT: Receipt = {
  request_id: "r", model: "m", provider: "openrouter", provider_model: "m",
  videos: [{ index: 0, found: "url", origin: "<b>a.mp4</b>", seconds: 10, sent: { as: "frames" }, seen: "no", evidence: "0 video tokens" }],
  images: [], audio: [], documents: [],
  plan: { videos: [{ index: 0, as: "frames", start: 2, end: 8, frames: { count: 6, fps: 1, transcript: true }, why: [] }] },
  fallbacks: [], upstream: null, usage: null, cost: { usd: null, source: "unknown" }, warnings: ["cut short"], error: null,
  seconds: { fetch: 1, prepare: 1.5, first_text: 4, total: 6 },
};

test("the receipt says what was sent, that it was not seen, and why", async () => {
  const place = show(<ReceiptView receipt={RECEIPT} />);
  const text = place.textContent ?? "";
  for (const said of ["not seen", "<b>a.mp4</b>", "Shown as 6 pictures with what is said, 00:02 to 00:08.", "0 video tokens", "cut short", "unknown"]) {
    assert.ok(text.includes(said), said);
  }
  place.close();
});

test("laps from the start become stretches one after the other", () => {
  assert.deepEqual(stages(RECEIPT.seconds).map((each) => each.seconds), [1, 0.5, 2.5, 2]);
  assert.deepEqual(stages({}), []);
});
