// The catalog of this server, as the picker shows it. Prices are decimal texts and stay so.
import { get } from "../../api";
import type { MediaKind } from "./form";

export type Price = {
  prompt: string | null;
  completion: string | null;
  request: string | null;
  source: string;
  dated: string | null;
};

export type Takes = {
  video: string[];
  images: string[];
  audio: string[];
  pdfs: boolean;
  hears_videos: boolean;
};

export type Model = {
  model: string;
  provider: string;
  name: string;
  description: string | null;
  context_tokens: number | null;
  takes: Takes | null;
  price_per_token: Price | null;
};

export type Catalog = {
  models: Model[];
  aliases: Record<string, string>;
  unavailable: Record<string, string>;
};

export const catalog = (): Promise<Catalog> => get<Catalog>("/telecine/v1/models");

/** How a video gets to a model, in a word or two. */
const FORMS: Record<string, string> = {
  file: "file",
  url: "URL",
  link: "YouTube",
  frames: "frames",
  decoded: "on this machine",
};

export const forms = (takes: Takes | null): string[] => (takes?.video ?? []).map((form) => FORMS[form] ?? form);

export function fits(model: Model, kinds: readonly MediaKind[]): boolean {
  const { takes } = model;
  if (!kinds.length) return true;
  if (!takes) return false;
  if (kinds.includes("video")) return takes.video.length > 0;
  if (kinds.includes("image")) return takes.images.length > 0;
  return takes.audio.length > 0;
}

/** Every word of `text` somewhere in the name, the title or the description; names first. */
export function search(models: readonly Model[], text: string): Model[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const named: Model[] = [];
  const described: Model[] = [];
  for (const model of models) {
    const name = `${model.model} ${model.name}`.toLowerCase();
    if (words.every((word) => name.includes(word))) named.push(model);
    else if (words.every((word) => `${name} ${model.description ?? ""}`.toLowerCase().includes(word))) {
      described.push(model);
    }
  }
  return [...named, ...described];
}

/** What to ask when nobody chose: a model of the endpoint's examples if it is here, else the first that fits. */
export function firstChoice(models: readonly Model[], aliases: Catalog["aliases"], examples: readonly unknown[]): string {
  for (const example of examples.map(String)) {
    if (example in aliases) return example;
    const found = models.find(({ model }) => model === example || model.endsWith(`/${example}`));
    if (found) return found.model;
  }
  return models[0]?.model ?? "";
}

/** US dollars for a million tokens, of a price for one: the point goes six places to the right. */
export function perMillion(price: string | null | undefined): string | null {
  const match = /^(\d+)(?:\.(\d+))?$/.exec(price ?? "");
  if (!match) return null;
  const [, whole = "0", part = ""] = match;
  const digits = part.padEnd(6, "0");
  const left = (whole + digits.slice(0, 6)).replace(/^0+(?=\d)/, "");
  const right = digits.slice(6).replace(/0+$/, "");
  if (!right) return `$${left}`;
  return `$${left}.${right.padEnd(2, "0")}`;
}

/** "$0.30 in, $2.50 out", or what else is to be said. */
export function priceInWords(price: Price | null): string {
  if (!price) return "price unknown";
  if (price.source === "free" || (isZero(price.prompt) && isZero(price.completion))) return "free";
  const [into, out] = [perMillion(price.prompt), perMillion(price.completion)];
  return `${into ?? "?"} in · ${out ?? "?"} out per million tokens`;
}

const isZero = (price: string | null): boolean => price !== null && /^0(\.0*)?$/.test(price);

export function context(tokens: number | null): string {
  if (tokens === null) return "";
  if (tokens >= 1_000_000) return `${+(tokens / 1_000_000).toFixed(1)}M context`;
  return tokens >= 1000 ? `${Math.round(tokens / 1000)}k context` : `${tokens} context`;
}

/** Where prices come from, and of which day they are. */
export function sourceInWords(source: string, dated: string | null): string {
  return dated && !source.includes(dated) ? `${source}, ${dated}` : source;
}
