// A sandbox to take away: for people as Markdown, for programs as JSON.
import type { Input } from "../playground/form";
import { type Column, cost, times } from "./columns";
import { compared } from "./compare";

export type Exported = { name: string; endpoint: string; input: Input; columns: readonly Column[] };

export function asJson({ name, endpoint, input, columns }: Exported): string {
  const results = columns.map((column) => ({
    model: column.model,
    request_id: column.run.requestId,
    state: column.run.phase,
    output: column.run.text,
    reasoning: column.run.reasoning || null,
    error: column.run.failure?.message ?? null,
    usage: column.run.usage,
    cost: cost(column),
    seconds: times(column),
    receipt: column.receipt,
  }));
  return `${JSON.stringify({ name, endpoint, input, results }, null, 2)}\n`;
}

export function asMarkdown({ name, endpoint, input, columns }: Exported): string {
  const { prompt, ...rest } = input;
  const head = ["", ...columns.map((column) => `**${cell(column.model)}**`)];
  const table = [
    row(head),
    row(head.map(() => "---")),
    ...compared(columns).map((line) => row([line.name, ...line.values.map(cell)])),
  ];
  const answers = columns.map(
    ({ model, run }) => `## ${cell(model)}\n\n${run.failure ? `Failed: ${cell(run.failure.message)}\n\n` : ""}${shifted(run.text)}`,
  );
  return [
    `# ${cell(name) || "Sandbox"}`,
    `\`${endpoint}\``,
    quoted(String(prompt ?? "")),
    fenced(JSON.stringify(rest, null, 2)),
    table.join("\n"),
    ...answers,
  ]
    .filter(Boolean)
    .join("\n\n")
    .trimEnd()
    .concat("\n");
}

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

/** What people typed, and names, are no HTML for whatever shows the file. */
const plain = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const cell = (text: string): string => plain(text).replaceAll("|", "\\|").replace(/\s*\n\s*/g, " ");

const quoted = (text: string): string => plain(text).split("\n").map((line) => `> ${line}`.trimEnd()).join("\n");

function fenced(text: string): string {
  return text === "{}" ? "" : `\`\`\`json\n${text}\n\`\`\``;
}

/** Headings of an answer go below that of its model. */
function shifted(text: string): string {
  let isCode = false;
  return text
    .split("\n")
    .map((line) => {
      if (/^\s*(```|~~~)/.test(line)) isCode = !isCode;
      return !isCode && /^#{1,4} /.test(line) ? `##${line}` : line;
    })
    .join("\n");
}

/** The browser keeps `text` as a file. */
export function download(fileName: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const fileName = (name: string, ending: string): string =>
  `${name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "sandbox"}.${ending}`;
