// What a page reads: the answer, what went wrong, and reading it again. An answer that is there stays
// while the next one is on its way, so nothing jumps.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api";

export type Loaded<T> = { data: T | null; problem: string | null; reload: () => Promise<void>; set: (data: T) => void };

export function useLoad<T>(path: string | null): Loaded<T> {
  const [data, setData] = useState<T | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const latest = useRef<AbortController | null>(null);
  const reload = useCallback(async () => {
    latest.current?.abort();
    if (path === null) return;
    const abort = new AbortController();
    latest.current = abort;
    try {
      const found = await get<T>(path, abort.signal);
      if (abort.signal.aborted) return;
      setData(found);
      setProblem(null);
    } catch (error) {
      if (!abort.signal.aborted) setProblem((error as Error).message);
    }
  }, [path]);
  useEffect(() => {
    void reload();
    return () => latest.current?.abort();
  }, [reload]);
  return { data, problem, reload, set: setData };
}

/** Calls `work` every so often while the page is looked at, one call at a time. */
export function usePolling(work: () => Promise<unknown>, milliseconds: number, isOn = true): void {
  const current = useRef(work);
  current.current = work;
  useEffect(() => {
    if (!isOn) return;
    let timer = 0;
    let isOver = false;
    const next = () => {
      if (!isOver) timer = window.setTimeout(tick, milliseconds);
    };
    const tick = () => {
      if (document.hidden) return next();
      current.current().then(next, next);
    };
    next();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [milliseconds, isOn]);
}

export type Page<Name extends string, T> = { [name in Name]: T[] } & { next_cursor: string | null; has_more: boolean };

/** A list that is read page by page, as far as somebody wants to see. */
export function usePages<Name extends string, T>(path: string, name: Name) {
  const [rows, setRows] = useState<T[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const round = useRef(0);
  const read = async (after: string | null) => {
    const mine = after === null ? ++round.current : round.current;
    setBusy(true);
    try {
      const glue = path.includes("?") ? "&" : "?";
      const page = await get<Page<Name, T>>(after ? `${path}${glue}cursor=${encodeURIComponent(after)}` : path);
      if (mine !== round.current) return;
      setRows((known) => (after ? [...(known ?? []), ...page[name]] : page[name]));
      setCursor(page.next_cursor);
      setProblem(null);
    } catch (error) {
      if (mine === round.current) setProblem((error as Error).message);
    } finally {
      if (mine === round.current) setBusy(false);
    }
  };
  useEffect(() => {
    void read(null);
  }, [path]);
  return { rows, problem, busy, hasMore: cursor !== null, more: () => read(cursor), reload: () => read(null) };
}
