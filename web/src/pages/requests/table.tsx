// A table of any length: only the rows in sight are in the page, each at its place.
import { Component, type ComponentChildren, type RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { moment, type Row, TONES, took } from "../../console";
import { Badge } from "../../ui/basics";
import { count, money, span } from "../../ui/format";

const BEYOND = 8; // rows that are there before they come into sight
const NARROW = "(max-width: 760px)";
const HEIGHTS = { wide: 46, narrow: 76 };

type Props = {
  rows: readonly Row[];
  hasMore: boolean;
  names: ReadonlyMap<string, string> | null;
  place: RefObject<HTMLDivElement | null>;
  onEnd: () => void;
  children?: ComponentChildren;
};

export function RequestTable({ rows, hasMore, names, place, onEnd, children }: Props) {
  const height = useRowHeight();
  const { first, last } = useWindow(place, height, rows.length);
  const focused = useRef<string | null>(null);
  useEffect(() => {
    if (hasMore && last + 50 >= rows.length) onEnd();
  }, [hasMore, last, rows.length]);
  const move = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    const at = rows.findIndex((row) => row.request_id === focused.current);
    if (!step || at < 0 || !place.current) return;
    event.preventDefault();
    const next = Math.min(rows.length - 1, Math.max(0, at + step));
    const row = rows[next];
    if (!row) return;
    reveal(place.current, next * height, height);
    focused.current = row.request_id;
    requestAnimationFrame(() => requestAnimationFrame(() => link(place.current, row.request_id)?.focus({ preventScroll: true })));
  };
  const shown = rows.slice(first, last);
  const kept = focused.current && !shown.some((row) => row.request_id === focused.current)
    ? rows.findIndex((row) => row.request_id === focused.current)
    : -1;
  return (
    <div
      class={`requests-table ${names ? "has-keys" : ""}`}
      role="table"
      aria-label="Requests, the newest first"
      aria-rowcount={hasMore ? -1 : rows.length + 1}
    >
      <div role="rowgroup" class="heads">
        <div role="row" aria-rowindex={1} class="request-row">
          <span role="columnheader">State</span>
          <span role="columnheader">Model</span>
          <span role="columnheader">Came in</span>
          <span role="columnheader">Mode</span>
          <span role="columnheader" class="figure">Took</span>
          <span role="columnheader" class="figure">Tokens</span>
          <span role="columnheader" class="figure">Cost</span>
          {names ? <span role="columnheader">Key</span> : null}
        </div>
      </div>
      <div
        role="rowgroup"
        class="body"
        ref={place}
        onKeyDown={move}
        onFocusIn={(event: FocusEvent) => {
          focused.current = (event.target as Element).getAttribute("data-request");
        }}
        onFocusOut={(event: FocusEvent) => {
          if (event.relatedTarget) focused.current = null;
        }}
      >
        <div role="presentation" class="all" style={{ height: `${rows.length * height}px` }}>
          {kept >= 0 ? <RequestRow key={rows[kept]!.request_id} row={rows[kept]!} index={kept} height={height} name={nameOf(rows[kept]!, names)} /> : null}
          {shown.map((row, index) => (
            <RequestRow key={row.request_id} row={row} index={first + index} height={height} name={nameOf(row, names)} />
          ))}
        </div>
        {children}
      </div>
    </div>
  );
}

const nameOf = (row: Row, names: Props["names"]) => (names ? names.get(row.key_id) || row.key_id.slice(0, 8) : null);

const link = (place: HTMLElement | null, id: string) => place?.querySelector<HTMLElement>(`a[data-request="${CSS.escape(id)}"]`);

function reveal(place: HTMLElement, top: number, height: number): void {
  if (top < place.scrollTop) place.scrollTop = top;
  else if (top + height > place.scrollTop + place.clientHeight) place.scrollTop = top + height - place.clientHeight;
}

type RowProps = { row: Row; index: number; height: number; name: string | null };

/** Drawn again only when it, or its place, is another. */
class RequestRow extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps) {
    const { row, index, height, name } = this.props;
    return row !== next.row || index !== next.index || height !== next.height || name !== next.name;
  }

  override render({ row, index, height, name }: RowProps) {
    const seconds = took(row.started_at ?? row.created_at, row.finished_at);
    return (
      <div role="row" aria-rowindex={index + 2} class="request-row" style={{ transform: `translateY(${index * height}px)` }}>
        <span role="cell" class="state">
          <Badge tone={TONES[row.state]}>{row.state}</Badge>
        </span>
        <span role="cell" class="what">
          <a href={`/ui/requests/${row.request_id}`} data-request={row.request_id}>
            {row.model || row.endpoint}
          </a>
          {row.error ? <span class="why">{row.error}</span> : null}
        </span>
        <span role="cell" class="at">
          <time dateTime={row.created_at}>{moment(row.created_at)}</time>
        </span>
        <span role="cell" class="mode">{row.mode}</span>
        <span role="cell" class="figure took">{seconds === null ? "" : span(seconds)}</span>
        <span role="cell" class="figure tokens">{row.total_tokens === null ? "" : count(row.total_tokens)}</span>
        <span role="cell" class="figure cost">{costOf(row)}</span>
        {name === null ? null : <span role="cell" class="key">{name}</span>}
      </div>
    );
  }
}

export function costOf(row: Pick<Row, "total_tokens" | "cost" | "unknown_costs">): string {
  if (row.total_tokens === null) return "";
  if (row.cost === null) return "unknown";
  return row.unknown_costs ? `${money(row.cost)} + ?` : money(row.cost);
}

function useRowHeight(): number {
  const [isNarrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  useEffect(() => {
    const query = matchMedia(NARROW);
    const look = () => setNarrow(query.matches);
    query.addEventListener("change", look);
    return () => query.removeEventListener("change", look);
  }, []);
  return isNarrow ? HEIGHTS.narrow : HEIGHTS.wide;
}

/** Which rows are in sight, and a few around them. */
function useWindow(place: RefObject<HTMLElement | null>, height: number, total: number): { first: number; last: number } {
  const [seen, setSeen] = useState({ first: 0, last: 40 });
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    const look = () => {
      const first = Math.max(0, Math.floor(element.scrollTop / height) - BEYOND);
      const last = Math.ceil((element.scrollTop + element.clientHeight) / height) + BEYOND;
      setSeen((old) => (old.first === first && old.last === last ? old : { first, last }));
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, [height]);
  return { first: Math.min(seen.first, total), last: Math.min(seen.last, total) };
}
