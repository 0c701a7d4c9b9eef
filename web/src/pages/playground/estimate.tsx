// Before the run: how the media would go to the model, and what that may cost.
import { useEffect, useState } from "preact/hooks";
import { ApiError, type Problem, post } from "../../api";
import { turns } from "../../lines";
import { add } from "../../ui/decimal";
import { clock, count, money } from "../../ui/format";
import type { Input } from "./form";
import { sourceInWords } from "./models";

export type PlannedVideo = {
  index: number;
  as: string;
  start: number | null;
  end: number | null;
  view?: { start?: number; end?: number };
  frames?: { count: number; fps: number; transcript?: boolean };
  work?: Record<string, unknown>;
  why: string[];
};

export type Estimate = {
  provider: string;
  provider_model: string;
  plan: { videos: PlannedVideo[]; segments: unknown[] } | null;
  warnings: string[];
  prompt_tokens: number | null;
  cost: { low: string | null; high: string | null; source: string | null; dated: string | null };
};

export type Estimated = { estimate: Estimate | null; message: string | null; problems: Problem[]; isAsking: boolean };

const NOTHING: Estimated = { estimate: null, message: null, problems: [], isAsking: false };
const WAIT_MS = 700;

/** One at a time: each may have to fetch a video, and must not keep the rest of the page waiting. */
const inTurn = turns();

/** Asked again when what is sent has changed and rested; `input` null: there is nothing to ask yet. */
export function useEstimate(endpoint: string, input: Input | null): Estimated {
  const [state, setState] = useState(NOTHING);
  const asked = input && JSON.stringify({ ...input, endpoint });
  useEffect(() => {
    if (asked === null) return setState(NOTHING);
    const abort = new AbortController();
    setState((known) => ({ ...known, isAsking: true }));
    const ask = async () => {
      if (abort.signal.aborted) return;
      try {
        const estimate = await post<Estimate>("/telecine/v1/estimate", JSON.parse(asked), abort.signal);
        setState({ ...NOTHING, estimate });
      } catch (error) {
        if (abort.signal.aborted) return;
        const problems = error instanceof ApiError ? error.problems : [];
        setState({ ...NOTHING, message: (error as Error).message, problems });
      }
    };
    const timer = setTimeout(() => void inTurn(ask), WAIT_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [asked]);
  return state;
}

export function EstimateView({ state, what }: { state: Estimated; what: string }) {
  const { estimate, message, isAsking } = state;
  return (
    <div class={`estimate ${isAsking ? "is-old" : ""}`} aria-busy={isAsking}>
      <h2>Before the run</h2>
      {estimate ? (
        <Shown estimate={estimate} />
      ) : message ? (
        <p class="problem">{message}</p>
      ) : (
        <p class="quiet">{isAsking ? "Looking at it…" : what}</p>
      )}
    </div>
  );
}

/** The same for a column: without the reasons and the source of the price. */
export function EstimateBrief({ state: { estimate, message, isAsking } }: { state: Estimated }) {
  return (
    <div class={`estimate ${isAsking ? "is-old" : ""}`} aria-busy={isAsking}>
      {estimate ? (
        <>
          <Cost estimate={estimate} isBrief />
          {estimate.plan?.videos.map((video) => <p class="quiet">{planInWords(video)}</p>)}
          {estimate.warnings.map((warning) => (
            <p class="note warn">{warning}</p>
          ))}
        </>
      ) : (
        <p class={message ? "problem" : "quiet"}>{message ?? (isAsking ? "Looking what it may cost…" : "")}</p>
      )}
    </div>
  );
}

function Cost({ estimate, isBrief = false }: { estimate: Estimate; isBrief?: boolean }) {
  const { prompt_tokens: tokens, cost } = estimate;
  return (
    <p>
      <strong>{costInWords(estimate)}</strong>
      {tokens === null ? "" : ` · about ${count(tokens)} ${tokens === 1 ? "token" : "tokens"} in`}
      {isBrief ? null : <span class="quiet"> · {priceSource(cost)}</span>}
    </p>
  );
}

function Shown({ estimate }: { estimate: Estimate }) {
  const videos = estimate.plan?.videos ?? [];
  return (
    <>
      <Cost estimate={estimate} />
      {videos.length ? (
        <ul class="plain">
          {videos.map((video) => (
            <li>
              {videos.length > 1 ? `Video ${video.index + 1}: ` : ""}
              {planInWords(video)} <span class="quiet">{video.why.map(sentence).join(" ")}</span>
            </li>
          ))}
        </ul>
      ) : null}
      {estimate.warnings.map((warning) => (
        <p class="note warn">{warning}</p>
      ))}
    </>
  );
}

/** Models keep their names as they are. */
const sentence = (text: string): string => `${text.replace(/^[a-z]+(?= )/, (word) => word.charAt(0).toUpperCase() + word.slice(1))}.`;

/** "$0.0006 to $0.003": without an answer, and with the longest that may come. */
export function costInWords({ cost }: Pick<Estimate, "cost">): string {
  if (cost.source === "free") return "Free";
  if (cost.low === null) return "Cost not known beforehand";
  if (cost.high === null) return `From ${money(cost.low)}`;
  return cost.low === cost.high ? money(cost.low) : `${money(cost.low)} to ${money(cost.high)}`;
}

/** What all of them may cost together, as far as anybody knows. */
export function sumInWords(estimates: readonly Pick<Estimate, "cost">[]): string {
  const costs = estimates.map(({ cost }) => (cost.source === "free" ? { ...cost, low: "0", high: "0" } : cost));
  const known = costs.filter(({ low }) => low !== null);
  const unknown = costs.length - known.length;
  if (!known.length) return unknown ? "Cost not known beforehand" : "";
  const source = costs.every((cost) => cost.source === "free") ? "free" : null;
  const high = known.some((cost) => cost.high === null) ? null : add(known.map((cost) => cost.high));
  const sum = costInWords({ cost: { low: add(known.map(({ low }) => low)), high, source, dated: null } });
  return unknown ? `${sum}, and ${unknown} of which nobody knows` : sum;
}

function priceSource({ source, dated }: Estimate["cost"]): string {
  if (source === "free") return "runs without a bill";
  if (!source) return "nobody says what it costs";
  return `prices: ${sourceInWords(source, dated)}`;
}

export function planInWords(video: PlannedVideo): string {
  return sentence(words(video));
}

function words(video: PlannedVideo): string {
  const part = stretch(video);
  switch (video.as) {
    case "file":
      return `${video.work && Object.keys(video.work).length ? "sent as a video that is cut or made smaller here" : "sent as the file itself"}, ${part}`;
    case "url":
      return `the provider fetches its address, ${part}`;
    case "link":
      return `sent as a link, ${part}`;
    case "frames": {
      const { count: frames = 0, transcript = false } = video.frames ?? {};
      return `shown as ${frames} ${frames === 1 ? "picture" : "pictures"}${transcript ? " with what is said" : ""}, ${part}`;
    }
    case "decoded":
      return `read on this machine, ${part}`;
    default:
      return `${video.as}, ${part}`;
  }
}

function stretch({ start, end }: PlannedVideo): string {
  if (end === null) return start ? `from ${clock(start)} on` : "all of it";
  return `${clock(start ?? 0)} to ${clock(end)}`;
}
