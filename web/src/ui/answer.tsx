// A model's answer while it comes and when it is there: Markdown a few times a second, and plain text
// while it is long, so that no frame has to lay out all of it again.
import { useEffect, useRef, useState } from "preact/hooks";
import { Markdown } from "./markdown";

const LONG = 4000;
const PAUSE_MS = 250;
const PIECE = 2000;

type Props = { text: string; isComing: boolean; onSeek?: (seconds: number) => void };

export function Answer({ text, isComing, onSeek }: Props) {
  const [made, setMade] = useState("");
  const isLong = text.length > LONG;
  const isPlain = isLong && (isComing || made !== text);
  return (
    <>
      {isPlain ? <Growing text={text} /> : null}
      {isLong && isComing ? null : (
        <div hidden={isPlain}>
          <Steady text={text} isComing={isComing} onMade={setMade} {...(onSeek ? { onSeek } : {})} />
        </div>
      )}
    </>
  );
}

function Steady({ text, isComing, ...more }: Props & { onMade: (text: string) => void }) {
  return <Markdown text={useSlowly(text, isComing)} {...more} />;
}

/** `value`, at once when it has come to rest, else renewed every PAUSE_MS. */
function useSlowly(value: string, isChanging: boolean): string {
  const [shown, setShown] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  useEffect(() => {
    if (!isChanging) return;
    const timer = setInterval(() => setShown(latest.current), PAUSE_MS);
    return () => clearInterval(timer);
  }, [isChanging]);
  return isChanging ? shown : value;
}

/** Adds to the page only what is new; what came before is laid out once and left alone. */
export function Growing({ text }: { text: string }) {
  const place = useRef<HTMLDivElement>(null);
  const written = useRef("");
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    if (!text.startsWith(written.current)) {
      element.replaceChildren();
      written.current = "";
    }
    append(element, text.slice(written.current.length));
    written.current = text;
  }, [text]);
  return <div class="growing" ref={place} />;
}

function append(element: HTMLElement, more: string): void {
  let piece = element.lastElementChild;
  for (const line of more.split(/(?<=\n)/)) {
    if (!piece || ((piece.textContent ?? "").endsWith("\n") && (piece.textContent ?? "").length > PIECE)) {
      piece = document.createElement("div");
      element.append(piece);
    }
    piece.append(line);
  }
}

/** Keeps the end of a scrolled place in sight while it grows, unless the reader went up. */
export function useFollow<T extends HTMLElement>(isComing: boolean) {
  const place = useRef<T>(null);
  const isAtEnd = useRef(true);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    isAtEnd.current = true;
    const onScroll = () => {
      isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => element.removeEventListener("scroll", onScroll);
  }, [isComing]);
  useEffect(() => {
    const element = place.current;
    if (element && isComing && isAtEnd.current) element.scrollTop = element.scrollHeight;
  });
  return place;
}
