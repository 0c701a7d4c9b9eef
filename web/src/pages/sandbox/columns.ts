// The columns of a sandbox: one model each, with its call or with what was saved of an earlier one.
import { type Failure, IDLE, type Phase, type Run } from "../../runs";
import type { Estimate } from "../playground/estimate";
import type { Input } from "../playground/form";
import type { Receipt } from "../playground/receipt";

export const MOST = 6;

export type Column = {
  key: number;
  model: string;
  /** Of what would be asked now. */
  estimate: Estimate | null;
  run: Run;
  /** Of the call whose result is shown, once it has ended; and what that call was asked. */
  receipt: Receipt | null;
  asked: string | null;
  /** Saved results of others: their requests are not for this key to name. */
  isForeign: boolean;
};

export type SavedResult = {
  model: string;
  state: "succeeded" | "failed" | "cancelled";
  error: string | null;
  error_type: string | null;
  output: string;
  is_cut: boolean;
  is_of_this_input: boolean;
  receipt: Receipt | null;
};

export type Sandbox = {
  sandbox_id: string | null;
  link: string | null;
  name: string;
  endpoint: string;
  may_change: boolean;
  input: Input;
  columns: { model: string; request_id: string | null; result: SavedResult | null }[];
  updated_at: string;
};

export type Listed = { sandbox_id: string; key_id: string; link: string | null; name: string; models: string[]; updated_at: string };

let lastKey = 0;

export const fresh = (model: string): Column => ({
  key: ++lastKey,
  model,
  estimate: null,
  run: IDLE,
  receipt: null,
  asked: null,
  isForeign: false,
});

const PHASES: Record<SavedResult["state"], Phase> = { succeeded: "done", failed: "failed", cancelled: "cancelled" };

export function opened(sandbox: Sandbox): Column[] {
  const asked = stable(sandbox.input);
  return sandbox.columns.map(({ model, request_id: requestId, result }) =>
    result
      ? {
          ...fresh(model),
          run: saved(result, requestId),
          receipt: result.receipt,
          asked: result.is_of_this_input ? asked : "",
          isForeign: !sandbox.may_change,
        }
      : fresh(model),
  );
}

/** A call that ended some time ago. */
function saved(result: SavedResult, requestId: string | null): Run {
  const usage = result.receipt?.usage ?? null;
  return {
    ...IDLE,
    phase: PHASES[result.state],
    requestId,
    text: result.output,
    usage: usage && { ...usage, cost: Number(result.receipt?.cost.usd ?? 0) },
    failure: result.state === "failed" ? failed(result) : null,
  };
}

const failed = ({ error, error_type }: SavedResult): Failure => ({
  message: error ?? error_type ?? "It failed",
  status: 0,
  problems: [],
});

/** The same text for the same input, in whatever order its fields came. */
export function stable(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    each && typeof each === "object" && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

/** What it took, in seconds: by the server's clock where there is a receipt, else by the browser's. */
export function times({ run, receipt }: Column): { first: number | null; total: number | null } {
  const since = (at: number | null) => (at === null ? null : (at - run.startedAt) / 1000);
  return {
    first: receipt?.seconds.first_text ?? since(run.firstTextAt),
    total: receipt?.seconds.total ?? since(run.endedAt),
  };
}

/** The cost with where the figure comes from; null: there is none yet. */
export function cost({ run, receipt }: Column): { usd: string | number | null; source: string } | null {
  if (receipt) return receipt.cost;
  return run.usage ? { usd: run.usage.cost, source: "unknown" } : null;
}

export function moved<T>(items: readonly T[], from: number, by: -1 | 1): T[] {
  const to = from + by;
  if (to < 0 || to >= items.length) return [...items];
  const changed = [...items];
  changed.splice(to, 0, ...changed.splice(from, 1));
  return changed;
}
