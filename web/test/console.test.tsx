import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { Row } from "../src/console";
import { body, changes } from "../src/pages/keys/form";
import { NO_FILTERS, Rows, asked, matches, queryOf } from "../src/pages/requests/live";
import { RequestTable, costOf } from "../src/pages/requests/table";
import { Columns, days, shown } from "../src/pages/usage/charts";
import { add, share } from "../src/ui/decimal";
import { Confirm } from "../src/ui/confirm";
import { type Place, settled, show } from "./dom";

class Nothing {
  observe() {}
  disconnect() {}
}
Object.assign(globalThis, {
  matchMedia: () => ({ matches: false, addEventListener() {}, removeEventListener() {} }),
  ResizeObserver: Nothing,
});

let place: Place | null = null;
afterEach(() => {
  place?.close();
  place = null;
});

const row = (number: number, more: Partial<Row> = {}): Row => ({
  request_id: `id-${number}`,
  endpoint: "openrouter/router/video",
  mode: "run",
  key_id: "k",
  model: "echo/echo",
  state: "succeeded",
  attempt: 1,
  created_at: new Date(1_700_000_000_000 + number * 1000).toISOString(),
  started_at: null,
  finished_at: null,
  inference_seconds: null,
  error: null,
  error_type: null,
  total_tokens: 21,
  cost: "0",
  unknown_costs: 0,
  ...more,
});

const ids = (rows: readonly Row[]) => rows.map((each) => each.request_id);

// ---------------------------------------------------------------- the list

test("new rows wait until they are let in, and stand on top then", () => {
  const list = new Rows();
  list.append([row(2), row(1)]);
  assert.equal(list.change([row(3)], NO_FILTERS), true);
  assert.deepEqual(ids(list.rows), ["id-2", "id-1"]);
  list.show();
  list.change([row(5), row(4)], NO_FILTERS);
  list.show();
  assert.deepEqual(ids(list.rows), ["id-5", "id-4", "id-3", "id-2", "id-1"]);
});

test("a row that changed is renewed where it stands, also after others came on top", () => {
  const list = new Rows();
  list.append([row(2, { state: "running" }), row(1)]);
  list.change([row(3)], NO_FILTERS);
  list.show();
  list.append([row(0)]);
  list.change([row(2, { state: "failed" }), row(0, { state: "failed" }), row(3, { state: "failed" })], NO_FILTERS);
  assert.deepEqual(list.rows.map((each) => each.state), ["failed", "failed", "succeeded", "failed"]);
  assert.equal(list.rows.length, 4);
});

test("a change that is told twice draws nothing anew", () => {
  const list = new Rows();
  list.append([row(1)]);
  assert.equal(list.change([row(1)], NO_FILTERS), false);
  list.change([row(2)], NO_FILTERS);
  assert.equal(list.change([row(2)], NO_FILTERS), false);
  assert.deepEqual(ids(list.waiting), ["id-2"]);
});

test("pages that overlap leave no row twice", () => {
  const list = new Rows();
  list.append([row(3), row(2)]);
  list.append([row(2), row(1)]);
  assert.deepEqual(ids(list.rows), ["id-3", "id-2", "id-1"]);
});

test("only new rows that the filters let through come in, and a known one stays though it fits no more", () => {
  const list = new Rows();
  const running = { ...NO_FILTERS, state: "active" };
  list.append([row(1, { state: "running" })]);
  list.change([row(2), row(3, { state: "queued" }), row(1)], running);
  list.show();
  assert.deepEqual(list.rows.map((each) => each.state), ["queued", "succeeded"]);
});

test("filters mean here what they mean to the server", () => {
  const failed = row(1, { state: "failed", error: "No Video", model: "a/B" });
  for (const [filters, fits] of [
    [{ search: "no video" }, true],
    [{ search: "A/b" }, true],
    [{ search: "ID-1" }, true],
    [{ search: "x" }, false],
    [{ state: "failed", mode: "run", key: "k", model: "a/B" }, true],
    [{ mode: "queue" }, false],
    [{ endpoint: "x" }, false],
    [{ from: "2030-01-01" }, false],
    [{ to: "2030-01-01" }, true],
  ] as const) {
    assert.equal(matches(failed, { ...NO_FILTERS, ...filters }), fits, JSON.stringify(filters));
  }
});

test("a day ends at midnight here, and the address of the page says no more than is set", () => {
  const filters = { ...NO_FILTERS, from: "2026-03-01", to: "2026-03-01", state: "active" };
  const query = asked(filters);
  assert.equal(Date.parse(query.get("to")!) - Date.parse(query.get("from")!), 86_400_000);
  assert.equal(query.get("state"), "queued,running");
  assert.equal(queryOf(NO_FILTERS), "");
  assert.equal(queryOf({ ...NO_FILTERS, search: "a b" }), "?search=a+b");
});

test("of 100,000 rows only those in sight are in the page, and it says at which place", async () => {
  const rows = Array.from({ length: 100_000 }, (_, index) => row(index));
  place = show(<RequestTable rows={rows} hasMore={false} names={null} place={{ current: null }} onEnd={() => {}} />);
  await settled();
  const table = document.querySelector('[role="table"]')!;
  assert.equal(table.getAttribute("aria-rowcount"), "100001");
  const there = [...table.querySelectorAll('.body [role="row"]')];
  assert.ok(there.length > 0 && there.length < 100, String(there.length));
  assert.equal(there[0]?.getAttribute("aria-rowindex"), "2");
});

test("a cost of which part is unknown is not shown as if it were all", () => {
  assert.equal(costOf(row(1, { cost: "0.5", unknown_costs: 1 })), "$0.50 + ?");
  assert.equal(costOf(row(1, { cost: null })), "unknown");
  assert.equal(costOf(row(1, { cost: null, total_tokens: null })), "");
});

// ---------------------------------------------------------------- money

test("decimals add up exactly", () => {
  assert.equal(add(["0.1", "0.2"]), "0.3");
  assert.equal(add(["9007199254740993", "0.000000000001", null]), "9007199254740993.000000000001");
  assert.equal(add(["-1.5", "1"]), "-0.5");
  assert.equal(add([]), "0");
  assert.equal(share("2", "1"), 1);
  assert.equal(share("1", "0"), 0);
});

test("a day without a call has its place in the chart", () => {
  const line = { name: "2026-03-02", label: "", calls: 1, prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, cost: null, unknown_costs: 1 };
  const all = days([line], "2026-03-01T00:00:00Z", "2026-03-04T00:00:00Z");
  assert.deepEqual(all.map((each) => [each.name, each.calls]), [["2026-03-01", 0], ["2026-03-02", 1], ["2026-03-03", 0]]);
  assert.equal(shown(line, "cost"), "unknown");
  assert.equal(shown(all[0]!, "cost"), "$0.00");
});

// ---------------------------------------------------------------- keys

const VALUES = { alias: " a ", models: "x/*, y\n", per_minute: "", running: "3", budget: "1.50", budget_per: "day", expires_at: "" };

test("a chart in which nothing is says so", () => {
  const free = { name: "2026-11-23", label: "", calls: 2, prompt_tokens: 9, completion_tokens: 1, total_tokens: 10, cost: "0", unknown_costs: 0 };
  const place = show(<Columns title="By day" metric="cost" lines={[free]} />);
  assert.match(place.textContent ?? "", /Nothing was billed in this time/);
  place.close();
});

test("an empty field of a key is no limit", () => {
  assert.deepEqual(body(VALUES), {
    alias: "a", models: ["x/*", "y"], per_minute: null, running: 3, budget: "1.50", budget_per: "day", expires_at: null,
  });
});

test("only what was changed is sent", () => {
  assert.deepEqual(changes(body({ ...VALUES, running: "" }), body(VALUES)), { running: null });
});

// ---------------------------------------------------------------- what cannot be undone

test("a question that fails stays open and says why", async () => {
  let closed = 0;
  const fails = async () => {
    throw new Error("It has not ended yet");
  };
  place = show(
    <Confirm title="Delete?" action="Delete" open onClose={() => closed++} onYes={fails}>
      <p>Gone for good.</p>
    </Confirm>,
  );
  await settled();
  const yes = [...document.querySelectorAll("button")].find((button) => button.textContent === "Delete")!;
  yes.click();
  await settled();
  assert.equal(closed, 0);
  assert.match(document.querySelector('[role="alert"]')?.textContent ?? "", /not ended/);
});
