// Text of a model as Markdown: made safe, and with its times (12:34, [00:01:02]) as buttons that seek.
import DOMPurify from "dompurify";
import { marked } from "marked";
import { useEffect, useRef } from "preact/hooks";

const TIME = /\[?\b((?:\d{1,2}:)?[0-5]?\d:[0-5]\d)(?:\.\d+)?\b\]?/g;

export function seconds(text: string): number {
  return text.split(":").reduce((total, part) => total * 60 + Number(part), 0);
}

const PIECE = 3000;

/** Of whatever a model wrote: nothing that runs, loads, looks like ours or can be filled in. */
function cleaned(html: string): string {
  return DOMPurify.sanitize(html, {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["style", "form", "input", "button", "img", "video", "audio", "iframe"],
    FORBID_ATTR: ["style", "class", "id"],
  });
}

const FENCE = /^ {0,3}(```|~~~)/;
const BEGINS_A_BLOCK = /^(?![-*+>|<]|\d+[.)])\S/;
const DEFINITION = /^ {0,3}\[[^\]\n]+\]:[ \t]*\S.*$/gm;

/** In stretches of about PIECE characters, cut between blocks: a long answer is made in turns, so that no
 * frame waits for all of it. What links refer to is known to every stretch. */
export function pieces(text: string): string[] {
  if (text.length <= PIECE) return [text];
  const found: string[] = [];
  let [from, at, isCode, isAfterBlank] = [0, 0, false, false];
  for (const line of text.split(/(?<=\n)/)) {
    if (at - from >= PIECE && isAfterBlank && !isCode && BEGINS_A_BLOCK.test(line)) {
      found.push(text.slice(from, at));
      from = at;
    }
    if (FENCE.test(line)) isCode = !isCode;
    isAfterBlank = line.trim() === "";
    at += line.length;
  }
  const definitions = (text.match(DEFINITION) ?? []).join("\n");
  return [...found, text.slice(from)].map((piece) => (definitions ? `${piece}\n\n${definitions}` : piece));
}

type Props = {
  text: string;
  onSeek?: (seconds: number) => void;
  /** Called when all of `text` is in the page. */
  onMade?: (text: string) => void;
};

export function Markdown({ text, onSeek, onMade }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const seek = useRef(onSeek);
  seek.current = onSeek;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const made = pieces(text);
    const parts: HTMLElement[] = [];
    let frame = 0;
    const make = () => {
      const piece = made[parts.length];
      if (piece !== undefined) parts.push(part(marked.parse(piece, { async: false, gfm: true, breaks: true }), seek));
      if (parts.length < made.length) {
        frame = requestAnimationFrame(make);
      } else {
        element.replaceChildren(...parts);
        onMade?.(text);
      }
    };
    make();
    return () => cancelAnimationFrame(frame);
  }, [text]);
  return <div class="markdown" ref={place} />;
}

function part(html: string, seek: { current: ((seconds: number) => void) | undefined }): HTMLElement {
  const element = document.createElement("div");
  element.className = "part";
  element.innerHTML = cleaned(html);
  for (const link of element.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  if (seek.current) linkTimes(element, (at) => seek.current?.(at));
  return element;
}

function linkTimes(root: Element, seekTo: (seconds: number) => void): void {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  while (walker.nextNode()) {
    const node = walker.currentNode as Text;
    if (!node.parentElement?.closest("a, code, pre")) texts.push(node);
  }
  for (const node of texts) {
    const found = [...node.data.matchAll(TIME)];
    if (!found.length) continue;
    const pieces: (string | Node)[] = [];
    let from = 0;
    for (const match of found) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "time";
      button.textContent = match[0];
      const at = seconds(match[1] ?? "0");
      button.addEventListener("click", () => seekTo(at));
      pieces.push(node.data.slice(from, match.index), button);
      from = match.index + match[0].length;
    }
    pieces.push(node.data.slice(from));
    node.replaceWith(...pieces);
  }
}
