// Addresses are real ones (/ui/requests/…): every page can be opened, linked to and reloaded.
import { useEffect, useState } from "preact/hooks";

export type Place = { path: string; query: URLSearchParams };

const here = (): Place => ({
  path: location.pathname.replace(/\/+$/, "") || "/",
  query: new URLSearchParams(location.search),
});

const listeners = new Set<() => void>();
const tell = () => listeners.forEach((listener) => listener());

addEventListener("popstate", tell);

export function go(to: string, { replace = false } = {}): void {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  tell();
  if (!replace) {
    scrollTo(0, 0);
    document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
  }
}

export function usePlace(): Place {
  const [place, set] = useState(here);
  useEffect(() => {
    const listener = () => set(here());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return place;
}

/** Clicks on plain links to pages of ours do not load the document again. */
export function followLinks(): void {
  addEventListener("click", (event) => {
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target || link.download || link.origin !== location.origin) return;
    if (link.pathname !== "/" && !/^\/ui(\/|$)/.test(link.pathname)) return;
    event.preventDefault();
    go(link.pathname + link.search + link.hash);
  });
}
