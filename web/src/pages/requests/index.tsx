// Every request of this server (or of one's own key): the list, and one of them opened.
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../api";
import type { PageProps } from "../../app";
import { API, type Key, type Row } from "../../console";
import { go } from "../../router";
import { isAdmin, useSession } from "../../session";
import { Button, Empty, ErrorNote, Spinner } from "../../ui/basics";
import { count } from "../../ui/format";
import { type Page, useLoad, usePolling } from "../../ui/loading";
import { FilterBar } from "./filters";
import { asked, type Filters, filtersOf, NO_FILTERS, queryOf, Rows } from "./live";
import { StoryView } from "./story";
import { RequestTable } from "./table";

const POLL_MS = 2000;
const PAGE = 200;

export default function Requests({ rest, query }: PageProps) {
  // The list stays as it is behind one that is opened: back is at the same place.
  const [filters, setFilters] = useState(() => filtersOf(query));
  useEffect(() => {
    if (!rest) setFilters(filtersOf(query));
  }, [rest, query.toString()]);
  const names = useKeyNames();
  const change = (more: Partial<Filters>) => go(`/ui/requests${queryOf({ ...filters, ...more })}`, { replace: true });
  return (
    <>
      {rest ? <StoryView key={rest} id={decodeURIComponent(rest)} back={`/ui/requests${queryOf(filters)}`} /> : null}
      <div class="requests" hidden={rest !== ""}>
        <h1>Requests</h1>
        <FilterBar filters={filters} names={names} onChange={change} />
        <List key={queryOf(filters)} filters={filters} names={names} isHidden={rest !== ""} onAll={() => change(NO_FILTERS)} />
      </div>
    </>
  );
}

type Changes = { requests: Row[]; cursor: string; has_more: boolean };

type ListProps = { filters: Filters; names: ReadonlyMap<string, string> | null; isHidden: boolean; onAll: () => void };

function List({ filters, names, isHidden, onAll }: ListProps) {
  const list = useList(filters);
  const place = useRef<HTMLDivElement>(null);
  const scrolled = useRef(0);
  useEffect(() => {
    if (isHidden) return;
    const element = place.current;
    if (element) element.scrollTop = scrolled.current;
    return () => void (scrolled.current = element?.scrollTop ?? 0);
  }, [isHidden]);
  usePolling(async () => {
    const element = place.current;
    const isRead = element !== null && (element.scrollTop > 20 || element.matches(":hover, :focus-within"));
    await list.look(!isRead);
  }, POLL_MS, !isHidden);
  return (
    <div class="list">
      <ErrorNote message={list.problem}>
        <Button onClick={list.restart}>Try again</Button>
      </ErrorNote>
      <div class="news" role="status">
        <span class="quiet">{list.isLive ? "Live" : "Not live: the server does not answer"}</span>
        {list.rows.waiting.length ? (
          <Button
            kind="primary"
            onClick={() => {
              list.show();
              if (place.current) place.current.scrollTop = 0;
            }}
          >
            {count(list.rows.waiting.length)} new
          </Button>
        ) : null}
      </div>
      {list.isRead && !list.rows.rows.length && !list.problem ? (
        <Nothing isFiltered={queryOf(filters) !== ""} onAll={onAll} />
      ) : (
        <RequestTable rows={list.rows.rows} hasMore={list.hasMore} names={names} place={place} onEnd={list.more}>
          {list.hasMore && !list.problem ? <Spinner label="More" /> : null}
        </RequestTable>
      )}
    </div>
  );
}

function Nothing({ isFiltered, onAll }: { isFiltered: boolean; onAll: () => void }) {
  return isFiltered ? (
    <Empty title="No request is like that">
      <p>
        <Button onClick={onAll}>Show them all</Button>
      </p>
    </Empty>
  ) : (
    <Empty title="No requests yet">
      <p>
        The first one can come from the <a href="/ui/playground">Playground</a>, or from your own program.
      </p>
    </Empty>
  );
}

/** Pages as they are scrolled to, and what changed since, every two seconds. */
function useList(filters: Filters) {
  const rows = useRef(new Rows());
  const next = useRef<{ cursor: string | null; isBusy: boolean; hasMore: boolean }>({ cursor: null, isBusy: false, hasMore: true });
  const since = useRef<string | null>(null);
  const [, setVersion] = useState(0);
  const [isRead, setRead] = useState(false);
  const [isLive, setLive] = useState(true);
  const [problem, setProblem] = useState<string | null>(null);
  const isThere = useRef(true);
  const draw = () => isThere.current && setVersion((old) => old + 1);

  const more = async () => {
    const state = next.current;
    if (state.isBusy || !state.hasMore) return;
    state.isBusy = true;
    try {
      if (since.current === null) since.current = (await get<Changes>(`${API}/requests/changes`)).cursor;
      const query = asked(filters);
      query.set("limit", String(PAGE));
      if (state.cursor) query.set("cursor", state.cursor);
      const page = await get<Page<"requests", Row>>(`${API}/requests?${query}`);
      if (state !== next.current) return;
      rows.current.append(page.requests);
      state.cursor = page.next_cursor;
      state.hasMore = page.has_more;
      setRead(true);
      setProblem(null);
    } catch (error) {
      state.hasMore = false; // until somebody tries again
      setProblem((error as Error).message);
    } finally {
      state.isBusy = false;
      draw();
    }
  };

  const restart = () => {
    rows.current = new Rows();
    next.current = { cursor: null, isBusy: false, hasMore: true };
    since.current = null;
    void more();
  };

  const look = async (mayMove: boolean) => {
    if (since.current === null) return;
    try {
      const changes = await get<Changes>(`${API}/requests/changes?cursor=${encodeURIComponent(since.current)}`);
      setLive(true);
      if (changes.has_more) return restart();
      since.current = changes.cursor;
      const isOther = rows.current.change(changes.requests, filters);
      if (mayMove) rows.current.show();
      if (isOther) draw();
    } catch {
      setLive(false);
    }
  };

  const show = () => {
    rows.current.show();
    draw();
  };

  useEffect(() => {
    isThere.current = true;
    void more();
    return () => void (isThere.current = false);
  }, []);
  return { rows: rows.current, isRead, isLive, problem, hasMore: next.current.hasMore, more, restart, look, show };
}

/** The keys' names, for those who see the requests of all keys. */
function useKeyNames(): ReadonlyMap<string, string> | null {
  const isBoss = isAdmin(useSession());
  const { data } = useLoad<{ keys: Key[] }>(isBoss ? `${API}/keys` : null);
  return isBoss ? new Map(data?.keys.map((key) => [key.key_id, key.alias])) : null;
}
