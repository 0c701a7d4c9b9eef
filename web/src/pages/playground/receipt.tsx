// The receipt for people: what was sent of each video, whether it was seen, what it cost, how long it took.
import type { ComponentChildren } from "preact";
import { Badge } from "../../ui/basics";
import { bytes, count, money, span } from "../../ui/format";
import { type PlannedVideo, planInWords } from "./estimate";

type Sent = { as: string; mime?: string; [more: string]: unknown };

type Medium = {
  index: number;
  found: string;
  origin: string;
  bytes?: number;
  sha256?: string;
  seconds?: number | null;
  width?: number | null;
  height?: number | null;
  video_codec?: string | null;
  audio_codec?: string | null;
  sent: Sent | null;
  seen: "yes" | "no" | "unknown";
  evidence?: string | null;
};

export type Receipt = {
  request_id: string;
  model: string | null;
  provider: string | null;
  provider_model: string | null;
  videos: Medium[];
  images: Medium[];
  audio: Medium[];
  documents: Medium[];
  plan: { videos: PlannedVideo[] } | null;
  fallbacks: { model: string; message: string }[];
  upstream: { id: string | null; model: string | null; provider: string | null; finish_reason: string | null } | null;
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number; cached_tokens: number | null; prompt_tokens_by_modality: Record<string, number> } | null;
  cost: { usd: string | null; source: string };
  warnings: string[];
  error: { type: string; message: string } | null;
  seconds: { fetch?: number; prepare?: number; first_text?: number; total?: number };
};

/** Where the figure comes from, so that nobody takes a computed one for a bill. */
export const COST_SOURCES: Record<string, string> = {
  billed: "the provider billed it",
  computed: "computed from a listed price",
  free: "free",
  unknown: "nobody knows",
};

const SEEN = { yes: ["good", "seen"], no: ["bad", "not seen"], unknown: ["warn", "seen? nothing tells"] } as const;

export function ReceiptView({ receipt }: { receipt: Receipt }) {
  const { upstream, usage, cost } = receipt;
  return (
    <div class="receipt">
      {receipt.warnings.map((warning) => (
        <p class="note warn">{warning}</p>
      ))}
      {receipt.error ? <p class="note bad">{receipt.error.message}</p> : null}
      <Media name="Video" media={receipt.videos} plans={receipt.plan?.videos ?? []} />
      <Media name="Image" media={receipt.images} plans={[]} />
      <Media name="Sound" media={receipt.audio} plans={[]} />
      <Media name="Document" media={receipt.documents} plans={[]} />
      <dl class="facts-list">
        <Fact name="Answered by">
          {[receipt.provider, receipt.provider_model].filter(Boolean).join(" · ") || "nobody"}
          {upstream?.model && upstream.model !== receipt.provider_model ? ` (it says: ${upstream.model})` : ""}
        </Fact>
        {receipt.fallbacks.length ? (
          <Fact name="Failed before">{receipt.fallbacks.map((each) => `${each.model}: ${each.message}`).join("; ")}</Fact>
        ) : null}
        {upstream?.finish_reason ? <Fact name="It ended by">{upstream.finish_reason}</Fact> : null}
        {usage ? (
          <Fact name="Tokens">
            {count(usage.prompt_tokens)} in, {count(usage.completion_tokens)} out
            {modalities(usage.prompt_tokens_by_modality)}
          </Fact>
        ) : null}
        <Fact name="Cost">
          {cost.usd === null ? "unknown" : money(cost.usd)} <span class="quiet">({COST_SOURCES[cost.source] ?? cost.source})</span>
        </Fact>
        {upstream?.id ? (
          <Fact name="Upstream’s id">
            <code>{upstream.id}</code>
          </Fact>
        ) : null}
        <Fact name="Request">
          <a href={`/ui/requests/${receipt.request_id}`}>
            <code>{receipt.request_id}</code>
          </a>
        </Fact>
      </dl>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function modalities(by: Record<string, number>): string {
  const parts = Object.entries(by).filter(([, tokens]) => tokens > 0);
  return parts.length ? ` (${parts.map(([name, tokens]) => `${name} ${count(tokens)}`).join(", ")})` : "";
}

function Media({ name, media, plans }: { name: string; media: Medium[]; plans: PlannedVideo[] }) {
  return (
    <>
      {media.map((medium) => {
        const [tone, said] = SEEN[medium.seen];
        const plan = plans.find((each) => each.index === medium.index);
        return (
          <section class="medium">
            <h3>
              {media.length > 1 ? `${name} ${medium.index + 1}` : name} <Badge tone={tone}>{said}</Badge>
            </h3>
            <p class="origin">{medium.origin}</p>
            <p class="quiet">{facts(medium)}</p>
            <p>{medium.sent ? (plan ? planInWords(plan) : `Sent as ${medium.sent.as}.`) : "Not sent."}</p>
            {medium.evidence ? <p class="quiet">Evidence: {medium.evidence}</p> : null}
            {medium.sha256 ? (
              <p class="quiet hash">
                <code>sha256 {medium.sha256}</code>
              </p>
            ) : null}
          </section>
        );
      })}
    </>
  );
}

function facts(medium: Medium): string {
  const { seconds, width, height, video_codec: video, audio_codec: audio } = medium;
  return [
    medium.found,
    seconds ? span(seconds) : "",
    width && height ? `${width}×${height}` : "",
    [video, audio].filter(Boolean).join(" + "),
    medium.bytes ? bytes(medium.bytes) : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

// ---------------------------------------------------------------- time

const STAGES = [
  ["fetch", "Fetching"],
  ["prepare", "Preparing"],
  ["first_text", "Waiting for the first word"],
  ["total", "Answering"],
] as const;

export type Stage = { name: string; seconds: number; className: string };

/** The laps of a receipt, which count from the start, as stretches one after the other. */
export function stages(seconds: Receipt["seconds"]): Stage[] {
  const found: Stage[] = [];
  let from = 0;
  for (const [key, name] of STAGES) {
    const until = seconds[key];
    if (until === undefined) continue;
    found.push({ name, seconds: Math.max(0, until - from), className: key });
    from = Math.max(from, until);
  }
  return found;
}

export function TimingBar({ seconds }: { seconds: Receipt["seconds"] }) {
  const parts = stages(seconds);
  const total = parts.reduce((sum, part) => sum + part.seconds, 0);
  if (!total) return null;
  let x = 0;
  return (
    <div class="timing">
      <svg viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">
        {parts.map((part) => {
          const width = (part.seconds / total) * 1000;
          const bar = <rect class={part.className} x={x} y="0" width={width} height="12" />;
          x += width;
          return bar;
        })}
      </svg>
      <ul>
        {parts.map((part) => (
          <li>
            <span class={`key ${part.className}`} aria-hidden="true" />
            {part.name} {span(part.seconds)}
          </li>
        ))}
        <li>
          <strong>{span(total)} in all</strong>
        </li>
      </ul>
    </div>
  );
}
