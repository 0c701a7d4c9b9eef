// A model's answer while it comes and when it is there, as Markdown. What has come to an end is made
// once and left alone; only the block that is still growing is made again.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Links, made, secondsOf } from "./markdown";
import { morph } from "./morph";
import { Pieces } from "./pieces";

/** So long a frame may be at work here; the rest is the next one's. */
const WORK_MS = 8;
/** The end of a growing text is made again after this many times what it last took. */
const REST = 10;

type Props = { text: string; isComing: boolean; onSeek?: (seconds: number) => void };

export function Answer({ text, isComing, onSeek }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const writer = useState(() => new Writer(onSeek !== undefined))[0];
  useLayoutEffect(() => {
    if (place.current) writer.write(place.current, text, isComing);
  }, [text, isComing]);
  useLayoutEffect(() => () => writer.stop(), []);
  return (
    <div
      class="markdown"
      ref={place}
      onClick={({ target }) => {
        if (target instanceof Element && target.matches("button.time")) onSeek?.(secondsOf(target));
      }}
    />
  );
}

type Part = { element: HTMLElement; source: string; links: number };

/** Keeps an element like a text that grows. */
class Writer {
  private place: HTMLElement | null = null;
  private pieces = new Pieces();
  private parts: Part[] = [];
  private links: Links = {};
  private isComing = false;
  private restUntil = 0;
  private frame = 0;

  constructor(private readonly withTimes: boolean) {}

  write(place: HTMLElement, text: string, isComing: boolean): void {
    this.place = place;
    this.isComing = isComing;
    if (!this.pieces.take(text)) this.forget();
    // Not in this frame: it has had the rest of the page to do.
    this.frame ||= requestAnimationFrame(this.work);
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  private forget(): void {
    this.links = {};
    this.restUntil = 0;
    for (const part of this.parts) part.links = -1;
  }

  private work = (): void => {
    this.frame = 0;
    const sources = [...this.pieces.done, this.pieces.open];
    for (const { element } of this.parts.splice(sources.length)) element.remove();
    const until = performance.now() + WORK_MS;
    for (let at = this.stale(sources); at >= 0; at = this.stale(sources)) {
      const now = performance.now();
      const isResting = this.isGrowing(at) && now < this.restUntil;
      if (now >= until || isResting) {
        this.frame = requestAnimationFrame(this.work);
        return;
      }
      this.make(at, sources[at] ?? "");
      if (this.isGrowing(at)) this.restUntil = now + REST * (performance.now() - now);
    }
  };

  /** The first part that is not as it should be: of another text, or made before a link was defined. */
  private stale(sources: readonly string[]): number {
    const links = Object.keys(this.links).length;
    return sources.findIndex((source, at) => {
      const part = this.parts[at];
      return part?.source !== source || part.links < 0 || (part.links !== links && source.includes("["));
    });
  }

  private make(at: number, source: string): void {
    // Of what is still being written no definition is believed: it may be half an address.
    const links = this.isGrowing(at) ? { ...this.links } : this.links;
    const part = (this.parts[at] ??= { element: this.added(), source: "", links: -1 });
    morph(part.element, made(source, links, { withTimes: this.withTimes }));
    part.source = source;
    part.links = Object.keys(this.links).length;
  }

  private isGrowing(at: number): boolean {
    return this.isComing && at === this.pieces.done.length;
  }

  private added(): HTMLElement {
    const element = document.createElement("div");
    element.className = "part";
    this.place?.append(element);
    return element;
  }
}

/** Keeps the end of a scrolled place in sight while it grows, unless the reader went up. */
export function useFollow<T extends HTMLElement>(isComing: boolean) {
  const place = useRef<T>(null);
  useEffect(() => {
    const element = place.current;
    if (!element || !isComing) return;
    let isAtEnd = true;
    const onScroll = () => {
      isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    };
    const follow = () => {
      if (isAtEnd) element.scrollTop = element.scrollHeight;
    };
    const observer = new MutationObserver(follow);
    observer.observe(element, { childList: true, characterData: true, subtree: true });
    element.addEventListener("scroll", onScroll, { passive: true });
    follow();
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [isComing]);
  return place;
}
