// The list as it is kept here: pages from the server, and what changed since, put in its place.
import type { Row, State } from "../../console";

export type Filters = {
  search: string;
  state: string;
  mode: string;
  endpoint: string;
  model: string;
  key: string;
  from: string;
  to: string;
};

export const NO_FILTERS: Filters = { search: "", state: "", mode: "", endpoint: "", model: "", key: "", from: "", to: "" };

const STATES: Record<string, readonly State[]> = { active: ["queued", "running"] };

export function filtersOf(query: URLSearchParams): Filters {
  const given = Object.keys(NO_FILTERS).map((name) => [name, query.get(name) ?? ""]);
  return Object.fromEntries(given) as Filters;
}

/** For the page's own address: what is empty is left out. */
export function queryOf(filters: Filters): string {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  return query.size ? `?${query}` : "";
}

/** For the server: days end at midnight here, and "active" is two states. */
export function asked(filters: Filters): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) {
    if (!value) continue;
    if (name === "from" || name === "to") query.set(name, dayStart(value, name === "to" ? 1 : 0).toISOString());
    else if (name === "state") query.set(name, (STATES[value] ?? [value]).join(","));
    else query.set(name, value);
  }
  return query;
}

function dayStart(day: string, later: number): Date {
  const time = new Date(`${day}T00:00`);
  time.setDate(time.getDate() + later);
  return time;
}

/** Whether a row that is new belongs into the list, as the server would say. */
export function matches(row: Row, filters: Filters): boolean {
  const query = asked(filters);
  const words = filters.search.trim().toLowerCase();
  const at = Date.parse(row.created_at);
  return (
    (!query.has("state") || query.get("state")!.split(",").includes(row.state)) &&
    (["mode", "endpoint", "model"] as const).every((name) => !filters[name] || row[name] === filters[name]) &&
    (!filters.key || row.key_id === filters.key) &&
    (!query.has("from") || at >= Date.parse(query.get("from")!)) &&
    (!query.has("to") || at < Date.parse(query.get("to")!)) &&
    (!words || [row.request_id, row.model, row.error ?? "", row.error_type ?? ""].some((each) => each.toLowerCase().includes(words)))
  );
}

export class Rows {
  /** The newest first. */
  readonly rows: Row[] = [];
  /** New ones that are not shown yet, the newest first. */
  waiting: Row[] = [];
  /** Where each stood when it came; those that came on top since are `above`. */
  private readonly places = new Map<string, number>();
  private above = 0;

  append(more: readonly Row[]): void {
    for (const row of more) {
      if (this.places.has(row.request_id)) continue;
      this.places.set(row.request_id, this.rows.length - this.above);
      this.rows.push(row);
    }
  }

  /** Rows that are here are renewed where they are, also when they would not be found any more. */
  change(changed: readonly Row[], filters: Filters): boolean {
    const fresh: Row[] = [];
    let isOther = false;
    for (const row of changed) {
      const place = this.placeOf(row.request_id);
      const waits = this.waiting.findIndex((each) => each.request_id === row.request_id);
      const known = place === undefined ? this.waiting[waits] : this.rows[place];
      if (known && isSame(known, row)) continue;
      if (place !== undefined) this.rows[place] = row;
      else if (waits >= 0) this.waiting[waits] = row;
      else if (matches(row, filters) && this.isNewer(row)) fresh.push(row);
      else continue;
      isOther = true;
    }
    this.waiting = [...fresh, ...this.waiting];
    return isOther;
  }

  /** Puts the new ones on top. */
  show(): void {
    if (!this.waiting.length) return;
    this.rows.unshift(...this.waiting);
    this.above += this.waiting.length;
    this.waiting.forEach((row, index) => this.places.set(row.request_id, index - this.above));
    this.waiting = [];
  }

  private placeOf(id: string): number | undefined {
    const place = this.places.get(id);
    return place === undefined ? undefined : place + this.above;
  }

  /** One that is older than the end of the list comes with its page. */
  private isNewer(row: Row): boolean {
    const last = this.rows.at(-1);
    return !last || row.created_at >= last.created_at;
  }
}

function isSame(one: Row, other: Row): boolean {
  return (Object.keys(other) as (keyof Row)[]).every((name) => one[name] === other[name]);
}
