// What was used and what it cost: by day, and by model, provider and key.
import { useState } from "preact/hooks";
import { API } from "../../console";
import { isAdmin, useSession } from "../../session";
import { Choice, Empty, ErrorNote, Spinner } from "../../ui/basics";
import { add } from "../../ui/decimal";
import { count, money } from "../../ui/format";
import { useLoad } from "../../ui/loading";
import { Bars, Columns, days, type Line, type Metric } from "./charts";

const SPANS = [
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
] as const;

const METRICS = [
  ["cost", "Cost"],
  ["total_tokens", "Tokens"],
  ["calls", "Calls"],
] as const;

const DAY_MS = 86_400_000;

type Report = { from: string; to: string; usage: Line[] };

export default function Usage() {
  const [span, setSpan] = useState<(typeof SPANS)[number][0]>("30");
  const [metric, setMetric] = useState<Metric>("cost");
  const isBoss = isAdmin(useSession());
  const [now] = useState(() => Date.now());
  const today = Math.floor(now / DAY_MS) * DAY_MS;
  const query = `from=${new Date(today - (Number(span) - 1) * DAY_MS).toISOString()}&to=${new Date(today + DAY_MS).toISOString()}`;
  const byDay = useLoad<Report>(`${API}/usage?by=day&${query}`);
  const byModel = useLoad<Report>(`${API}/usage?by=model&${query}`);
  const byProvider = useLoad<Report>(`${API}/usage?by=provider&${query}`);
  const byKey = useLoad<Report>(isBoss ? `${API}/usage?by=key&${query}` : null);
  const shares = [
    ["By model", byModel],
    ["By provider", byProvider],
    ["By key", byKey],
  ] as const;
  return (
    <>
      <div class="title">
        <h1>Usage</h1>
        <Choice label="How far back" options={SPANS} value={span} onChange={setSpan} />
        <Choice label="What" options={METRICS} value={metric} onChange={setMetric} />
      </div>
      <ErrorNote message={byDay.problem ?? byModel.problem ?? byProvider.problem ?? byKey.problem} />
      {byDay.data ? (
        <>
          <Totals lines={byDay.data.usage} />
          {byDay.data.usage.length ? (
            <Columns title="By day (UTC)" metric={metric} lines={days(byDay.data.usage, byDay.data.from, byDay.data.to)} />
          ) : (
            <Empty title="No model was asked in this time">
              <p>
                Costs come from the ledger, call by call, with the source of every figure. Ask a model in the{" "}
                <a href="/ui/playground">Playground</a>.
              </p>
            </Empty>
          )}
        </>
      ) : byDay.problem ? null : (
        <Spinner label="Adding up" />
      )}
      <div class="shares">
        {shares.map(([title, { data }]) => (data?.usage.length ? <Bars title={title} metric={metric} lines={data.usage} /> : null))}
      </div>
    </>
  );
}

function Totals({ lines }: { lines: readonly Line[] }) {
  const sum = (name: "calls" | "prompt_tokens" | "completion_tokens" | "unknown_costs") => lines.reduce((all, each) => all + each[name], 0);
  const unknown = sum("unknown_costs");
  return (
    <dl class="tiles panel">
      <div>
        <dt>Cost</dt>
        <dd>{money(add(lines.map((each) => each.cost)))}</dd>
      </div>
      <div>
        <dt>Of unknown cost</dt>
        <dd>
          {count(unknown)} {unknown === 1 ? "call" : "calls"}
        </dd>
      </div>
      <div>
        <dt>Calls to models</dt>
        <dd>{count(sum("calls"))}</dd>
      </div>
      <div>
        <dt>Tokens in</dt>
        <dd>{count(sum("prompt_tokens"))}</dd>
      </div>
      <div>
        <dt>Tokens out</dt>
        <dd>{count(sum("completion_tokens"))}</dd>
      </div>
    </dl>
  );
}
