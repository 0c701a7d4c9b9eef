// Text of a model as Markdown: made safe, and with its times (12:34, [00:01:02]) as buttons that seek.
import DOMPurify from "dompurify";
import { marked } from "marked";
import { useEffect, useRef } from "preact/hooks";

const TIME = /\[?\b((?:\d{1,2}:)?[0-5]?\d:[0-5]\d)(?:\.\d+)?\b\]?/g;

export function seconds(text: string): number {
  return text.split(":").reduce((total, part) => total * 60 + Number(part), 0);
}

export function safeHtml(text: string): string {
  const html = marked.parse(text, { async: false, gfm: true, breaks: true });
  return DOMPurify.sanitize(html, {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["style", "form", "input", "button", "img", "video", "audio", "iframe"],
    FORBID_ATTR: ["style", "class", "id"],
  });
}

export function Markdown({ text, onSeek }: { text: string; onSeek?: (seconds: number) => void }) {
  const place = useRef<HTMLDivElement>(null);
  const seek = useRef(onSeek);
  seek.current = onSeek;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    element.innerHTML = safeHtml(text);
    for (const link of element.querySelectorAll("a")) {
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow";
    }
    if (seek.current) linkTimes(element, (at) => seek.current?.(at));
  }, [text]);
  return <div class="markdown" ref={place} />;
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
