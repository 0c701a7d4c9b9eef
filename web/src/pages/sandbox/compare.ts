// What was sent to each model and what came of it, line by line: where the columns differ.
import { count, money, span } from "../../ui/format";
import { COST_SOURCES, type Receipt } from "../playground/receipt";
import { type Column, cost, times } from "./columns";

export type Line = { name: string; values: string[]; differs: boolean };

type Medium = Receipt["videos"][number];
type Sent = { as: string; frames?: number; fps?: number | null; seconds?: number | null; width?: number | null; height?: number | null;
  times?: number[]; transcript?: boolean; prepared?: { width: number; height: number; fps: number; audio: boolean } };

const FORMS: Record<string, string> = {
  file: "the file",
  url: "its address",
  link: "a link",
  frames: "pictures",
  decoded: "read on this machine",
};

const NOTHING = "–";

export function compared(columns: readonly Column[]): Line[] {
  const line = (name: string, of: (column: Column) => string): Line => {
    const values = columns.map((column) => of(column) || NOTHING);
    const told = values.filter((value) => value !== NOTHING);
    return { name, values, differs: new Set(told).size > 1 };
  };
  const most = Math.max(0, ...columns.map(({ receipt }) => receipt?.videos.length ?? 0));
  const videos = Array.from({ length: most }, (_, index) => {
    const named = (what: string) => (most > 1 ? `Video ${index + 1}: ${what.toLowerCase()}` : what);
    const of = (how: (medium: Medium, receipt: Receipt) => string) => ({ receipt }: Column) => {
      const medium = receipt?.videos[index];
      return medium && receipt ? how(medium, receipt) : "";
    };
    return [
      line(named("Sent as"), of((medium) => form(medium))),
      line(named("Frames"), of((medium) => frames(medium))),
      line(named("Seconds"), of((medium, receipt) => stretch(medium, receipt))),
      line(named("Size"), of((medium) => size(medium))),
      line(named("Sound"), of((medium, receipt) => sound(medium, receipt))),
      line(named("Seen"), of(({ seen }) => ({ yes: "yes", no: "no", unknown: "nothing tells" })[seen])),
    ];
  }).flat();
  return [
    line("Answered by", ({ receipt }) => [receipt?.provider, receipt?.provider_model].filter(Boolean).join(" · ")),
    ...videos,
    line("Tokens in", ({ run }) => (run.usage?.prompt_tokens === undefined ? "" : count(run.usage.prompt_tokens))),
    line("Tokens out", ({ run }) => (run.usage?.completion_tokens === undefined ? "" : count(run.usage.completion_tokens))),
    line("Cost", (column) => costInWords(column)),
    line("First text", (column) => inSeconds(times(column).first)),
    line("In all", (column) => inSeconds(times(column).total)),
    line("It ended by", ({ run, receipt }) => run.failure?.message ?? receipt?.upstream?.finish_reason ?? ""),
  ].filter(({ values }) => values.some((value) => value !== NOTHING));
}

export function costInWords(column: Column): string {
  const found = cost(column);
  if (!found) return "";
  if (found.usd === null || (found.source === "unknown" && !column.receipt)) return "unknown";
  return `${money(found.usd)} (${COST_SOURCES[found.source] ?? found.source})`;
}

export const inSeconds = (seconds: number | null): string => (seconds === null ? "" : span(seconds));

const sentOf = (medium: Medium): Sent | null => medium.sent as Sent | null;

function form(medium: Medium): string {
  const sent = sentOf(medium);
  if (!sent) return "not sent";
  return (FORMS[sent.as] ?? sent.as) + (sent.prepared ? ", made to fit" : "");
}

function frames(medium: Medium): string {
  const sent = sentOf(medium);
  const fps = sent?.prepared?.fps ?? sent?.fps;
  return [sent?.frames ? count(sent.frames) : "", fps ? `${round(fps)} per second` : ""].filter(Boolean).join(", ");
}

function stretch(medium: Medium, receipt: Receipt): string {
  const { start, end } = receipt.plan?.videos.find((each) => each.index === medium.index)?.view ?? {};
  const whole = sentOf(medium)?.seconds ?? medium.seconds;
  if (start === undefined && end === undefined) return whole ? `all ${round(whole)}` : "";
  return `${round(start ?? 0)} to ${end === undefined ? "the end" : round(end)}`;
}

function size(medium: Medium): string {
  const sent = sentOf(medium);
  const { width, height } = sent?.prepared ?? (sent?.width ? sent : medium);
  return width && height ? `${width}×${height}` : "";
}

function sound(medium: Medium, receipt: Receipt): string {
  const sent = sentOf(medium);
  if (!sent) return "";
  const tokens = receipt.usage?.prompt_tokens_by_modality["audio"];
  const heard = tokens ? `, heard: ${count(tokens)} tokens` : "";
  if (!medium.audio_codec) return "it has none";
  if (sent.as === "frames") return sent.transcript ? "as a transcript" : "not sent";
  if (sent.as === "decoded") return "on this machine";
  return sent.prepared?.audio === false ? "not sent" : `sent${heard}`;
}

const round = (value: number): string => String(Math.round(value * 100) / 100);
