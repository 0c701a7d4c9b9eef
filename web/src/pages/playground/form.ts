// From what stands in the form to the input of a call, and from the server's complaints to its fields.
import type { Problem } from "../../api";
import type { FieldSchema } from "../../schema";

/** What was typed: texts for everything but switches. Absent: untouched. */
export type Values = Readonly<Record<string, string | boolean>>;
export type Problems = Readonly<Record<string, string>>;
export type MediaKind = "video" | "image" | "audio" | "pdf";
export type Input = Record<string, unknown>;

const FIRST = new Set(["prompt", "system_prompt", "model", "reasoning", "temperature", "max_tokens"]);
const BY_PLAYER = new Set(["start", "end", "fps", "resolution"]);
export const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const;

/** Which kind of media a field names, if it names any. `video_url` is one of `video_urls`. */
export function mediaKind(field: FieldSchema): MediaKind | null {
  const kind = /^(video|image|audio|pdf)_url(s?)$/.exec(field.name);
  if (!kind || field.name === "video_url") return null;
  return kind[1] as MediaKind;
}

export type Groups = { media: FieldSchema[]; player: FieldSchema[]; first: FieldSchema[]; more: FieldSchema[] };

/** Those that every endpoint of fal's has come first; what is Telecine's own stands under "More". */
export function groups(fields: readonly FieldSchema[]): Groups {
  const found: Groups = { media: [], player: [], first: [], more: [] };
  const hasPlayer = fields.some((field) => mediaKind(field) === "video");
  for (const field of fields) {
    if (field.name === "video_url") continue;
    if (mediaKind(field)) found.media.push(field);
    else if (hasPlayer && BY_PLAYER.has(field.name)) found.player.push(field);
    else if (FIRST.has(field.name)) found.first.push(field);
    else found.more.push(field);
  }
  return found;
}

/** The input as it would be sent: of the form only what differs from the defaults. */
export function inputFrom(
  fields: readonly FieldSchema[],
  values: Values,
  media: Readonly<Record<string, readonly string[]>>,
): { input: Input; problems: Problems } {
  const input: Input = {};
  const problems: Record<string, string> = {};
  for (const field of fields) {
    if (mediaKind(field)) {
      const urls = media[field.name] ?? [];
      if (urls.length) input[field.name] = field.kind === "list" ? [...urls] : urls[0];
      continue;
    }
    const given = values[field.name];
    if (given === undefined || (given === "" && !field.required)) continue;
    try {
      const value = parsed(field, given);
      if (value !== undefined && (field.required || value !== field.default)) input[field.name] = value;
    } catch (error) {
      problems[field.name] = (error as Error).message;
    }
  }
  return { input, problems };
}

function parsed(field: FieldSchema, given: string | boolean): unknown {
  if (typeof given === "boolean") return given;
  if (field.kind === "boolean") return given === "true" ? true : given === "false" ? false : given || undefined;
  if (field.kind === "number" || field.kind === "integer") return numeric(given);
  if (field.kind === "list") return lines(given);
  if (field.kind === "json") return object(given);
  return given;
}

/** What is no number goes as it was typed: 1:30 is a moment, and the server judges the rest. */
function numeric(text: string): unknown {
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number)) return text.trim() || undefined;
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new Error("Too large: a browser would round it. At most 9007199254740991");
  }
  return number;
}

function lines(text: string): string[] | undefined {
  const found = text.split("\n").filter((line) => line !== "");
  return found.length ? found : undefined;
}

function object(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('This is no JSON. An object is meant, such as {"type": "json_object"}');
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new Error("A JSON object is meant: { … }");
  }
  return value;
}

/** The form that gives `input`: the way back, for requests that are opened again. */
export function valuesFrom(fields: readonly FieldSchema[], input: Input): Values {
  const values: Record<string, string | boolean> = {};
  for (const field of fields) {
    const value = input[field.name];
    if (value === undefined || value === null || mediaKind(field)) continue;
    if (field.kind === "list") values[field.name] = (Array.isArray(value) ? value : [value]).join("\n");
    else if (field.kind === "json") values[field.name] = JSON.stringify(value, null, 2);
    else if (typeof value === "boolean" && field.default !== null) values[field.name] = value;
    else values[field.name] = String(value);
  }
  return values;
}

/** The media that `input` names, by field. */
export function mediaFrom(fields: readonly FieldSchema[], input: Input): Record<string, string[]> {
  const media: Record<string, string[]> = {};
  for (const field of fields) {
    if (!mediaKind(field)) continue;
    const one = field.name === "video_urls" ? input["video_url"] : undefined;
    const value = input[field.name] ?? one;
    const urls = (Array.isArray(value) ? value : [value]).filter((url): url is string => typeof url === "string");
    if (urls.length) media[field.name] = urls;
  }
  return media;
}

/** By field, what the server found wrong with it; `others`: what is wrong with none of them. */
export function placed(problems: readonly Problem[], fields: readonly FieldSchema[]): { at: Problems; others: string[] } {
  const known = new Set(fields.map((field) => field.name));
  const at: Record<string, string> = {};
  const others: string[] = [];
  for (const { loc = [], msg } of problems) {
    const said = String(loc[1] ?? "");
    const name = said === "video_url" ? "video_urls" : said;
    const item = typeof loc[2] === "number" ? `No. ${loc[2] + 1}: ` : "";
    if (known.has(name)) at[name] = [at[name], item + msg].filter(Boolean).join(" ");
    else others.push(msg);
  }
  return { at, others };
}
