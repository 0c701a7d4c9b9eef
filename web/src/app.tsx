// The frame around every page, and which page stands at which address. Pages load when first opened.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { usePlace } from "./router";
import { SignedIn, signOut, useSession } from "./session";
import { Button, ErrorNote, Spinner } from "./ui/basics";

export type PageProps = { rest: string; query: URLSearchParams };
type Page = { path: string; name: string; load: () => Promise<{ default: ComponentType<PageProps> }> };

const PAGES: readonly Page[] = [
  { path: "/ui/playground", name: "Playground", load: () => import("./pages/playground") },
  { path: "/ui/sandbox", name: "Sandbox", load: () => import("./pages/sandbox") },
  { path: "/ui/requests", name: "Requests", load: () => import("./pages/requests") },
  { path: "/ui/usage", name: "Usage", load: () => import("./pages/usage") },
  { path: "/ui/keys", name: "Keys", load: () => import("./pages/keys") },
  { path: "/ui/files", name: "Files", load: () => import("./pages/files") },
  { path: "/ui/webhooks", name: "Webhooks", load: () => import("./pages/webhooks") },
  { path: "/ui/providers", name: "Providers", load: () => import("./pages/providers") },
];

export function App() {
  return (
    <SignedIn>
      <Frame />
    </SignedIn>
  );
}

function Frame() {
  const place = usePlace();
  const session = useSession();
  const path = place.path === "/" || place.path === "/ui" ? (PAGES[0]?.path ?? "") : place.path;
  const page = PAGES.find((each) => path === each.path || path.startsWith(`${each.path}/`));
  useEffect(() => {
    document.title = page ? `${page.name} · Telecine` : "Telecine";
    showCurrent();
  }, [page]);
  return (
    <>
      <a class="skip" href="#main">
        To the content
      </a>
      <header class="top">
        <a class="brand" href="/">
          <img src="/ui/icon.svg" alt="" width="24" height="24" />
          Telecine
        </a>
        <nav aria-label="Pages">
          {PAGES.map((each) => (
            <a href={each.path} aria-current={each === page ? "page" : undefined}>
              {each.name}
            </a>
          ))}
        </nav>
        {session.needs_key ? (
          <Button kind="quiet" onClick={() => void signOut()}>
            Sign out
          </Button>
        ) : null}
      </header>
      <main id="main" tabIndex={-1}>
        {page ? (
          <Loaded key={page.path} page={page} rest={path.slice(page.path.length + 1)} query={place.query} />
        ) : (
          <p class="empty">
            There is no such page. <a href="/">To the Playground</a>
          </p>
        )}
      </main>
    </>
  );
}

/** On a phone the row of pages is wider than the screen. Not by scrollIntoView: the next Tab would go on
 * from there, past the way to the content. */
function showCurrent(): void {
  const link = document.querySelector<HTMLElement>("nav [aria-current]");
  const row = link?.parentElement;
  if (row) row.scrollLeft = link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
}

function Loaded({ page, rest, query }: { page: Page } & PageProps) {
  const [Body, setBody] = useState<ComponentType<PageProps> | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    let isThere = true;
    page.load().then(
      (module) => isThere && setBody(() => module.default),
      () => isThere && setProblem("This page could not be loaded. Is telecine serve still running?"),
    );
    return () => void (isThere = false);
  }, [page]);
  if (problem) {
    return (
      <ErrorNote message={problem}>
        <Button onClick={() => location.reload()}>Try again</Button>
      </ErrorNote>
    );
  }
  return Body ? <Body rest={rest} query={query} /> : <Spinner label="Loading" />;
}
