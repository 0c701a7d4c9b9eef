// Charts of plain SVG. Each says in a sentence what it shows, and has the same figures as a table.
import { count, money } from "../../ui/format";

export type Metric = "cost" | "total_tokens" | "calls";

export type Line = {
  name: string;
  label: string;
  calls: number;
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cost: string | null;
  unknown_costs: number;
};

const NAMES: Record<Metric, string> = { cost: "Cost", total_tokens: "Tokens", calls: "Calls" };
const DAY_MS = 86_400_000;
const WIDTH = 1000;
const HEIGHT = 200;

const valueOf = (line: Line, metric: Metric): number => Number(line[metric] ?? 0);

export function shown(line: Line, metric: Metric): string {
  if (metric !== "cost") return count(line[metric]);
  if (line.cost === null) return line.unknown_costs ? "unknown" : money("0");
  return line.unknown_costs ? `${money(line.cost)} + ?` : money(line.cost);
}

/** A line for every day of the span, also those on which nothing was. */
export function days(lines: readonly Line[], from: string, to: string): Line[] {
  const known = new Map(lines.map((line) => [line.name, line]));
  const all: Line[] = [];
  for (let at = Date.parse(from); at < Date.parse(to); at += DAY_MS) {
    const name = new Date(at).toISOString().slice(0, 10);
    const none = { calls: 0, prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, cost: null, unknown_costs: 0 };
    all.push(known.get(name) ?? { name, label: name, ...none });
  }
  return all;
}

/** One column per day. */
export function Columns({ title, metric, lines }: { title: string; metric: Metric; lines: readonly Line[] }) {
  const most = Math.max(...lines.map((line) => valueOf(line, metric)));
  const step = WIDTH / lines.length;
  const top = lines.find((line) => valueOf(line, metric) === most);
  const summary = most > 0 && top ? `${NAMES[metric]} by day. The most: ${shown(top, metric)} on ${top.name}.` : `${NAMES[metric]} by day: none.`;
  return (
    <figure class="panel chart">
      <figcaption>
        <h2>{title}</h2>
        <span class="quiet">{most > 0 && top ? `highest: ${shown(top, metric)}` : ""}</span>
      </figcaption>
      <svg class="columns" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={summary}>
        {lines.map((line, index) => {
          const value = valueOf(line, metric);
          const height = most > 0 ? Math.max((value / most) * HEIGHT, value > 0 ? 2 : 0) : 0;
          return (
            <g>
              <title>{`${line.name}: ${shown(line, metric)}`}</title>
              <rect class="ground" x={index * step} y={0} width={step} height={HEIGHT} />
              <rect class="bar" x={index * step + step * 0.15} y={HEIGHT - height} width={step * 0.7} height={height} />
            </g>
          );
        })}
      </svg>
      {most > 0 ? null : <p class="none quiet">{metric === "cost" ? "Nothing was billed in this time." : "Nothing in this time."}</p>}
      <p class="ends quiet" aria-hidden="true">
        <span>{lines[0]?.name}</span>
        <span>{lines.at(-1)?.name}</span>
      </p>
      <Table title={title} first="Day" lines={lines.filter((line) => line.calls > 0)} />
    </figure>
  );
}

/** One bar per name, the longest first. */
export function Bars({ title, metric, lines }: { title: string; metric: Metric; lines: readonly Line[] }) {
  const sorted = [...lines].sort((a, b) => valueOf(b, metric) - valueOf(a, metric));
  const most = valueOf(sorted[0]!, metric);
  return (
    <figure class="panel chart">
      <figcaption>
        <h2>{title}</h2>
      </figcaption>
      <ul class="bars" aria-label={`${NAMES[metric]}, ${title.toLowerCase()}`}>
        {sorted.slice(0, 12).map((line) => (
          <li>
            <span class="long">{line.label}</span>
            <span class="figure">{shown(line, metric)}</span>
            <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
              <rect class="all" width="100" height="6" />
              <rect class="bar" width={most > 0 ? (valueOf(line, metric) / most) * 100 : 0} height="6" />
            </svg>
          </li>
        ))}
      </ul>
      <Table title={title} first="Name" lines={sorted} />
    </figure>
  );
}

function Table({ title, first, lines }: { title: string; first: string; lines: readonly Line[] }) {
  return (
    <details>
      <summary>As a table</summary>
      <div class="scroll-x" tabIndex={0} role="region" aria-label={`${title}, as a table`}>
        <table>
          <thead>
            <tr>
              <th scope="col">{first}</th>
              {["Calls", "Tokens in", "Tokens out", "Cost", "Of unknown cost"].map((name) => (
                <th scope="col" class="figure">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {lines.map((line) => (
              <tr>
                <th scope="row" class="long">
                  {line.label}
                </th>
                <td class="figure">{count(line.calls)}</td>
                <td class="figure">{count(line.prompt_tokens)}</td>
                <td class="figure">{count(line.completion_tokens)}</td>
                <td class="figure">{line.cost === null ? "" : `$${line.cost}`}</td>
                <td class="figure">{count(line.unknown_costs)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
