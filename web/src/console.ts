// What the console's calls of /telecine/v1/ answer.

export type State = "queued" | "running" | "succeeded" | "failed" | "cancelled";

export type Row = {
  request_id: string;
  endpoint: string;
  mode: string;
  key_id: string;
  model: string;
  state: State;
  attempt: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  inference_seconds: number | null;
  error: string | null;
  error_type: string | null;
  total_tokens: number | null;
  cost: string | null;
  unknown_costs: number;
};

export type Story = Omit<Row, "total_tokens" | "cost" | "unknown_costs"> & {
  input: unknown;
  result_status: number | null;
  result_body: unknown;
  receipt: Record<string, unknown> | null;
  attempts: { attempt: number; started_at: string; ended_at: string | null; ended_as: string | null; detail: string | null }[];
  usage: Bill[];
  logs: { at: string; level: string; message: string }[];
};

export type Bill = {
  attempt: number;
  provider: string;
  model: string;
  at: string;
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cost: string | null;
  cost_source: string;
};

export type Delivery = {
  id: number;
  request_id: string;
  state: "waiting" | "delivered" | "dead";
  url: string;
  attempt: number;
  created_at: string;
  ended_at: string | null;
  next_at: string | null;
  last_status?: number | null;
  last_detail?: string | null;
};

export type DeliveryStory = Delivery & {
  attempts: { attempt: number; at: string; seconds: number | null; status: number | null; detail: string }[];
};

export type Key = {
  key_id: string;
  alias: string;
  scopes: string[];
  models: string[];
  per_minute: number | null;
  running: number | null;
  budget: string | null;
  budget_per: "day" | "month" | "total";
  spent: string;
  expires_at: string | null;
  created_at: string;
  revoked_at: string | null;
  last_used_at: string | null;
};

export const API = "/telecine/v1";

export const isOver = (state: State): boolean => state !== "queued" && state !== "running";

export const TONES = { queued: "neutral", running: "busy", succeeded: "good", failed: "bad", cancelled: "warn" } as const;

const SHORT = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

/** A time as a list has it: no year, to the second. */
export function moment(iso: string): string {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? iso : SHORT.format(time);
}

export const took = (from: string, to: string | null): number | null =>
  to === null ? null : Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
