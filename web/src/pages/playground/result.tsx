// What became of the call: its state as it is, the answer, and the proof.
import { useEffect, useState } from "preact/hooks";
import { receiptOf, isActive, type Failure, type Phase, type Run } from "../../runs";
import { Answer, useFollow } from "../../ui/answer";
import { Badge, Copy, ErrorNote, Tabs } from "../../ui/basics";
import { count, money, span } from "../../ui/format";
import { COST_SOURCES, type Receipt, ReceiptView, TimingBar } from "./receipt";

const RECEIPT_PAUSES_MS = [200, 500, 1000, 2000];

type Props = { run: Run; isUploading: boolean; onSeek: (seconds: number) => void };

export function Result({ run, isUploading, onSeek }: Props) {
  const receipt = useReceipt(run);
  const tabs = [
    { name: "Answer", body: () => <AnswerTab run={run} onSeek={onSeek} /> },
    { name: "JSON", body: () => <JsonTab run={run} /> },
    { name: "Receipt", body: () => <ReceiptTab run={run} receipt={receipt} /> },
    { name: `Log${run.logs.length ? ` (${run.logs.length})` : ""}`, body: () => <LogTab run={run} /> },
  ];
  return (
    <section class="panel result" aria-label="Result">
      <div class="head">
        <Status run={run} isUploading={isUploading} />
        <Elapsed run={run} />
        <span class="ways">
          {run.requestId ? <a href={`/ui/requests/${run.requestId}`}>The request</a> : null}
          {run.text ? <Copy text={run.text} label="Copy the answer" /> : null}
        </span>
      </div>
      <Tabs label="Result" tabs={tabs} />
      <div class="foot">
        {receipt ? <TimingBar seconds={receipt.seconds} /> : null}
        <Figures run={run} receipt={receipt} />
      </div>
    </section>
  );
}

/** Kept by the server a moment after the answer has gone out, so it is asked for more than once. */
export function useReceipt(run: Run): Receipt | null {
  const [receipt, setReceipt] = useState<Receipt | null>(null);
  const id = run.endedAt === null ? null : run.requestId;
  useEffect(() => {
    setReceipt(null);
    if (!id) return;
    let timer = 0;
    const ask = async (pauses: readonly number[]) => {
      const found = (await receiptOf(id).catch(() => null)) as Receipt | null;
      if (timer < 0) return;
      const [pause, ...rest] = pauses;
      if (found || pause === undefined) setReceipt(found);
      else timer = window.setTimeout(ask, pause, rest);
    };
    void ask(RECEIPT_PAUSES_MS);
    return () => {
      clearTimeout(timer);
      timer = -1;
    };
  }, [id]);
  return receipt;
}

// ---------------------------------------------------------------- state

const TONES = { done: "good", failed: "bad", cancelled: "warn", idle: "neutral" } as const;

function inWords(run: Run, isUploading: boolean): string {
  if (run.isAway && isActive(run)) return "The server is away: asking again";
  const words: Record<Phase, string> = {
    idle: isUploading ? "Uploading" : "Idle",
    sending: "Sending",
    queued: run.position ? `In the queue, position ${run.position}` : "In the queue, next",
    running: "Running",
    streaming: "Answering",
    done: "Done",
    failed: "Failed",
    cancelled: "Stopped",
  };
  return words[run.phase];
}

/** Read out when it changes; the text that streams in is not. */
export function Status({ run, isUploading }: { run: Run; isUploading: boolean }) {
  const tone = run.phase in TONES ? TONES[run.phase as keyof typeof TONES] : "busy";
  return (
    <div role="status">
      <Badge tone={run.isAway && isActive(run) ? "warn" : run.phase === "idle" && isUploading ? "busy" : tone}>{inWords(run, isUploading)}</Badge>
    </div>
  );
}

export function Elapsed({ run }: { run: Run }) {
  const [, tick] = useState(0);
  const active = isActive(run);
  useEffect(() => {
    if (!active) return;
    const timer = setInterval(() => tick((at) => at + 1), 100);
    return () => clearInterval(timer);
  }, [active]);
  if (run.phase === "idle") return null;
  const until = run.endedAt ?? performance.now();
  return <span class="quiet elapsed">{span((until - run.startedAt) / 1000)}</span>;
}

// ---------------------------------------------------------------- tabs

function AnswerTab({ run, onSeek }: { run: Run; onSeek: (seconds: number) => void }) {
  const isComing = isActive(run);
  const place = useFollow<HTMLDivElement>(isComing);
  return (
    <div class="body" ref={place} tabIndex={0} role="region" aria-label="Answer">
      {run.failure ? <Failed failure={run.failure} hasText={run.text !== ""} /> : null}
      {run.reasoning ? (
        <details class="reasoning" open={isComing && !run.text}>
          <summary>Reasoning</summary>
          <Answer text={run.reasoning} isComing={isComing} />
        </details>
      ) : null}
      {run.text ? <Answer text={run.text} isComing={isComing} onSeek={onSeek} /> : <Waiting run={run} />}
    </div>
  );
}

function Waiting({ run }: { run: Run }) {
  if (run.phase === "failed") return null;
  const last = run.logs[run.logs.length - 1];
  const said: Partial<Record<Phase, string>> = {
    idle: "The answer comes here. Ctrl + Enter runs, too.",
    sending: "Sending the call…",
    queued: "Waiting for its turn. It goes on, even if this page is closed: see Requests.",
    running: last?.message ?? "Waiting for the first word…",
    done: "The model answered without a word.",
    cancelled: "Stopped before the first word.",
  };
  return <p class="quiet">{said[run.phase] ?? ""}</p>;
}

function Failed({ failure, hasText }: { failure: Failure; hasText: boolean }) {
  const fix = remedy(failure);
  return (
    <ErrorNote message={failure.message}>
      {fix ? <p>{fix}</p> : null}
      {hasText ? <p>What had come until then stands below.</p> : null}
    </ErrorNote>
  );
}

/** What to do about it; empty where the message says so itself. */
export function remedy({ status, problems }: Pick<Failure, "status" | "problems">): string {
  if (status === 422) return problems.length ? "Mend what is marked in the form, and run it again." : "";
  if (status === 401) return "Sign in again: this key is no longer valid here.";
  if (status === 403) return "Sign in with a key that may do this, or have its limits raised.";
  if (status === 429) return "Too much at once: wait a little, or choose Queue, which waits by itself.";
  if (status === 503) return "Nothing was billed: run it again in a moment, or choose another model.";
  if (status === 504) return "It took too long: choose a shorter part, or Queue.";
  if (status >= 500) return "It may have been billed: the receipt says so. Look there before running it again.";
  return "";
}

function JsonTab({ run }: { run: Run }) {
  const text = run.result === null ? "" : JSON.stringify(run.result, null, 2);
  return (
    <div class="body" tabIndex={0} role="region" aria-label="JSON">
      {text ? (
        <div class="json">
          <pre tabIndex={0}>{text}</pre>
          <Copy text={text} label="Copy the JSON" />
        </div>
      ) : (
        <p class="quiet">The answer as the API gives it, when it is there.</p>
      )}
    </div>
  );
}

function ReceiptTab({ run, receipt }: { run: Run; receipt: Receipt | null }) {
  const without = run.endedAt === null ? "Proof of what the model was given, when the call has ended." : "There is no receipt of this call.";
  return (
    <div class="body" tabIndex={0} role="region" aria-label="Receipt">
      {receipt ? <ReceiptView receipt={receipt} /> : <p class="quiet">{without}</p>}
    </div>
  );
}

const MOST_LINES = 500;

function LogTab({ run }: { run: Run }) {
  const place = useFollow<HTMLDivElement>(isActive(run));
  const lines = run.logs.slice(-MOST_LINES);
  return (
    <div class="body" ref={place} tabIndex={0} role="region" aria-label="Log">
      {lines.length ? (
        <ol class="log">
          {lines.map((line) => (
            <li class={line.level.toLowerCase()}>
              <time>{line.timestamp.slice(11, 19)}</time> {line.message}
            </li>
          ))}
        </ol>
      ) : (
        <p class="quiet">{run.mode === "queue" ? "No line yet." : "Lines come while a call is in the queue: choose Queue to see them."}</p>
      )}
    </div>
  );
}

function Figures({ run, receipt }: { run: Run; receipt: Receipt | null }) {
  const { usage } = run;
  if (!usage) return <p class="quiet figures">Tokens, cost and time stand here.</p>;
  const tokens = [
    usage.prompt_tokens === undefined ? "" : `${count(usage.prompt_tokens)} tokens in`,
    usage.completion_tokens === undefined ? "" : `${count(usage.completion_tokens)} out`,
  ].filter(Boolean);
  const cost = receipt ? receipt.cost : null;
  const isUnknown = cost !== null && cost.usd === null;
  return (
    <p class="figures">
      {tokens.join(", ")}
      {tokens.length ? " · " : ""}
      <strong>{isUnknown ? "cost unknown" : money(cost?.usd ?? usage.cost)}</strong>
      {cost && !isUnknown ? <span class="quiet"> ({COST_SOURCES[cost.source] ?? cost.source})</span> : null}
    </p>
  );
}
