// One call to an endpoint in any of the three modes, through fal's own client, as one state that pages
// show. Whatever comes in between two frames of the screen is shown at once with the next.
import { ApiError as FalError, ValidationError } from "@fal-ai/client";
import { get, messageOf, problemsOf, type Problem } from "./api";
import { fal } from "./fal";
import { type Free, line } from "./lines";

export type Mode = "run" | "stream" | "queue";
export type Phase = "idle" | "sending" | "queued" | "running" | "streaming" | "done" | "failed" | "cancelled";

export type Usage = {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
  cost: number;
};

export type LogLine = { message: string; level: string; timestamp: string };

export type Failure = { message: string; status: number; problems: Problem[] };

export type Run = {
  phase: Phase;
  mode: Mode;
  requestId: string | null;
  position: number | null;
  logs: LogLine[];
  text: string;
  reasoning: string;
  usage: Usage | null;
  result: unknown;
  failure: Failure | null;
  startedAt: number;
  firstTextAt: number | null;
  endedAt: number | null;
};

export type Handle = { stop: () => void; ended: Promise<Run> };

export const IDLE: Run = {
  phase: "idle",
  mode: "stream",
  requestId: null,
  position: null,
  logs: [],
  text: "",
  reasoning: "",
  usage: null,
  result: null,
  failure: null,
  startedAt: 0,
  firstTextAt: null,
  endedAt: null,
};

export const isActive = (run: Run): boolean => ["sending", "queued", "running", "streaming"].includes(run.phase);

/** Starts a call. `show` is given the state now, and again whenever it changed, once a frame at most. */
export function start(endpoint: string, input: Record<string, unknown>, mode: Mode, show: (run: Run) => void): Handle {
  let run: Run = { ...IDLE, mode, phase: "sending", startedAt: performance.now() };
  let frame = 0;
  const abort = new AbortController();
  const change = (news: Partial<Run>) => {
    run = { ...run, ...news };
    if (!frame) frame = requestAnimationFrame(flush);
  };
  const flush = () => {
    frame = 0;
    show(run);
  };
  const say = (text: string, reasoning: string) => {
    const first = run.firstTextAt ?? (text || reasoning ? performance.now() : null);
    change({ phase: "streaming", text, reasoning, firstTextAt: first });
  };
  let free: Free | null = null;
  const work = async () => {
    free = await line();
    abort.signal.throwIfAborted();
    const how = { run: once, stream: free ? streamed : queued, queue: queued }[mode];
    await how({ endpoint, input, change, say, abort, hasLine: free !== null, current: () => run });
  };
  const ended = work()
    .catch((error: unknown) => {
      if (abort.signal.aborted) change({ phase: "cancelled" });
      else change({ phase: "failed", failure: failureOf(error), requestId: idOf(error) ?? run.requestId });
    })
    .then(() => {
      free?.();
      run = { ...run, endedAt: performance.now() };
      cancelAnimationFrame(frame);
      flush();
      return run;
    });
  show(run);
  return { stop: () => abort.abort(), ended };
}

type Work = {
  endpoint: string;
  input: Record<string, unknown>;
  change: (news: Partial<Run>) => void;
  say: (text: string, reasoning: string) => void;
  abort: AbortController;
  hasLine: boolean;
  current: () => Run;
};

type Output = { output?: string; reasoning?: string | null; usage?: Usage; error?: string | null };

function finish(change: Work["change"], data: unknown, requestId: string | null): void {
  const { output = "", reasoning, usage = null } = data as Output;
  change({ phase: "done", text: output, reasoning: reasoning ?? "", usage, result: data, requestId });
}

async function once({ endpoint, input, change, abort }: Work): Promise<void> {
  change({ phase: "running" });
  const { data, requestId } = await fal.run(endpoint, { input, abortSignal: abort.signal });
  finish(change, data, requestId);
}

async function streamed({ endpoint, input, change, say, abort, current }: Work): Promise<void> {
  change({ phase: "running" });
  const stream = await fal.stream(endpoint, { input, signal: abort.signal, timeout: 3_600_000 });
  // Not by `for await`: the client's iterator hands out one event in 16 ms, and ends without a word
  // when the stream failed. What it keeps for that iterator is all the text so far, once per event.
  const kept = (stream as unknown as { buffer: unknown[] }).buffer;
  let last: Output = {};
  stream.on("data", (event: Output) => {
    kept.length = 0;
    last = event;
    if (!current().requestId) change({ requestId: stream.requestId });
    say(event.output ?? "", event.reasoning ?? "");
  });
  await stream.done();
  if (abort.signal.aborted) throw new DOMException("stopped", "AbortError");
  const requestId = stream.requestId ?? current().requestId;
  if (last.error) {
    change({
      phase: "failed",
      text: last.output ?? "",
      usage: last.usage ?? null,
      result: last,
      requestId,
      failure: { message: last.error, status: 0, problems: [] },
    });
    return;
  }
  finish(change, last, requestId);
}

const ASK_MS = 400;

/** Somebody watches, as with a stream: a failure is to be seen at once, not after ten tries. */
const ONCE = { "x-fal-no-retry": "1" };

/** Through the queue; without a line to hold, its state and its text so far are asked for again and again. */
async function queued({ endpoint, input, change, say, abort, hasLine, current }: Work): Promise<void> {
  const headers = current().mode === "stream" ? ONCE : {};
  const { request_id: requestId } = await fal.queue.submit(endpoint, { input, headers });
  change({ phase: "queued", requestId });
  const cancel = () => void fal.queue.cancel(endpoint, { requestId }).catch(() => {});
  if (abort.signal.aborted) cancel();
  abort.signal.addEventListener("abort", cancel, { once: true });
  const read = async () => {
    const { output_so_far: text } = await get<{ output_so_far: string | null }>(`/telecine/v1/requests/${requestId}`);
    if (text && text.length > current().text.length) say(text, "");
  };
  await fal.queue.subscribeToStatus(endpoint, {
    requestId,
    logs: true,
    ...(hasLine ? { mode: "streaming" } : { mode: "polling", pollInterval: ASK_MS }),
    onQueueUpdate: (status) => {
      const lines = "logs" in status ? (status.logs as LogLine[] | undefined) : undefined;
      const logs = lines?.length ? merged(current().logs, lines) : current().logs;
      if (status.status === "IN_QUEUE") change({ phase: "queued", position: status.queue_position ?? null, logs });
      else if (status.status === "IN_PROGRESS") {
        change({ phase: current().text ? "streaming" : "running", position: null, logs });
        if (!hasLine) void read().catch(() => {}); // the next time, or at the end
      } else change({ logs });
    },
  });
  const { data } = await fal.queue.result(endpoint, { requestId });
  finish(change, data, requestId);
}

/** Streams repeat lines when they begin anew. */
function merged(known: LogLine[], more: LogLine[]): LogLine[] {
  const seen = new Set(known.map((line) => line.timestamp + line.message));
  return [...known, ...more.filter((line) => !seen.has(line.timestamp + line.message))];
}

function failureOf(error: unknown): Failure {
  if (error instanceof ValidationError || error instanceof FalError) {
    return { message: messageOf(error.body, error.status), status: error.status, problems: problemsOf(error.body) };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    message: message === "Failed to fetch" ? "The server does not answer. Is telecine serve still running?" : message,
    status: 0,
    problems: [],
  };
}

const idOf = (error: unknown): string | null => (error instanceof FalError ? (error.requestId ?? null) : null);

/** The receipt of a call that has ended: proof of what the model was given. */
export const receiptOf = async (requestId: string): Promise<Record<string, unknown> | null> =>
  (await get<{ receipt: Record<string, unknown> | null }>(`/telecine/v1/requests/${requestId}`)).receipt;
