// One call to an endpoint in any of the three modes, through fal's own client, as one state that pages
// show. Whatever comes in between two frames of the screen is shown at once with the next.
import { ApiError as FalError, type QueueStatus, ValidationError } from "@fal-ai/client";
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
  /** The server does not answer now; the request is in its queue all the same. */
  isAway: boolean;
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

/** `leave`: nobody looks any more. What is in the queue goes on; everything else is stopped. */
export type Handle = { stop: () => void; leave: () => void; ended: Promise<Run> };

export const IDLE: Run = {
  phase: "idle",
  mode: "stream",
  requestId: null,
  position: null,
  isAway: false,
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
  const left = new AbortController();
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
    await how({ endpoint, input, change, say, abort, left: left.signal, hasLine: free !== null, current: () => run });
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
  const stop = () => abort.abort();
  const leave = () => {
    if (mode === "queue") left.abort();
    stop();
  };
  return { stop, leave, ended };
}

type Work = {
  endpoint: string;
  input: Record<string, unknown>;
  change: (news: Partial<Run>) => void;
  say: (text: string, reasoning: string) => void;
  abort: AbortController;
  left: AbortSignal;
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
async function queued(work: Work): Promise<void> {
  const { endpoint, input, change, abort, left, current } = work;
  const headers = current().mode === "stream" ? ONCE : {};
  const { request_id: requestId } = await fal.queue.submit(endpoint, { input, headers });
  change({ phase: "queued", requestId });
  const cancel = () => void (left.aborted || fal.queue.cancel(endpoint, { requestId }).catch(() => {}));
  if (abort.signal.aborted) cancel();
  abort.signal.addEventListener("abort", cancel, { once: true });
  while (!(await patiently(work, () => watched(work, requestId)))) abort.signal.throwIfAborted();
  const { data } = await patiently(work, () => fal.queue.result(endpoint, { requestId }));
  finish(change, data, requestId);
}

const AWAY_MS = 1000;

/** The queue outlives a server that starts again: what does not answer is asked until it does. */
async function patiently<T>({ change, abort }: Work, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isLost(error)) throw error;
      abort.signal.throwIfAborted();
      change({ isAway: true });
      await new Promise((over) => setTimeout(over, AWAY_MS));
      abort.signal.throwIfAborted();
    }
  }
}

/** Whether it has ended; else the server hung up, as it does before it stops. */
async function watched({ endpoint, change, say, left, hasLine, current }: Work, requestId: string): Promise<boolean> {
  let isOver = false;
  const read = async () => {
    const { output_so_far: text } = await get<{ output_so_far: string | null }>(`/telecine/v1/requests/${requestId}`);
    if (text && text.length > current().text.length) say(text, "");
  };
  const onQueueUpdate = (status: QueueStatus) => {
    const lines = "logs" in status ? (status.logs as LogLine[] | undefined) : undefined;
    const logs = lines?.length ? merged(current().logs, lines) : current().logs;
    change({ logs, isAway: false });
    if (status.status === "IN_QUEUE") change({ phase: "queued", position: status.queue_position ?? null });
    else if (status.status === "IN_PROGRESS") {
      change({ phase: current().text ? "streaming" : "running", position: null });
      if (!hasLine) void read().catch(() => {}); // the next time, or at the end
    } else isOver = true;
  };
  if (hasLine) {
    const stream = await fal.queue.streamStatus(endpoint, { requestId, logs: true });
    left.addEventListener("abort", () => stream.abort(), { once: true });
    stream.on("data", onQueueUpdate);
    await stream.done();
  } else {
    await fal.queue.subscribeToStatus(endpoint, { requestId, logs: true, mode: "polling", pollInterval: ASK_MS, onQueueUpdate });
  }
  return isOver;
}

/** Streams repeat lines when they begin anew. */
function merged(known: LogLine[], more: LogLine[]): LogLine[] {
  const seen = new Set(known.map((line) => line.timestamp + line.message));
  return [...known, ...more.filter((line) => !seen.has(line.timestamp + line.message))];
}

function failureOf(error: unknown): Failure {
  if (isLost(error)) {
    return { message: "The server does not answer. Is telecine serve still running?", status: 0, problems: [] };
  }
  if (error instanceof ValidationError || error instanceof FalError) {
    return { message: messageOf(error.body, error.status), status: error.status, problems: problemsOf(error.body) };
  }
  return { message: error instanceof Error ? error.message : String(error), status: 0, problems: [] };
}

/** Whether no answer came, or it broke off: of that fal's client makes a 500 that no server gave. */
function isLost(error: unknown): boolean {
  if (error instanceof FalError) return error.status === 500 && error.body === undefined && !/^HTTP /.test(error.message);
  return error instanceof TypeError && /fetch|network|load failed/i.test(error.message);
}

const idOf = (error: unknown): string | null => (error instanceof FalError ? (error.requestId ?? null) : null);

/** The receipt of a call that has ended: proof of what the model was given. */
export const receiptOf = async (requestId: string): Promise<Record<string, unknown> | null> =>
  (await get<{ receipt: Record<string, unknown> | null }>(`/telecine/v1/requests/${requestId}`)).receipt;
