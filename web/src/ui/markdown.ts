// Text of a model as Markdown: made safe, and with its times (12:34, [00:01:02]) as buttons.
import DOMPurify from "dompurify";
import { Lexer, Parser, getDefaults } from "marked";

const TIME = /\[?\b((?:\d{1,2}:)?[0-5]?\d:[0-5]\d)(?:\.\d+)?\b\]?/g;

export function seconds(text: string): number {
  return text.split(":").reduce((total, part) => total * 60 + Number(part), 0);
}

/** What links refer to ([name]: address), by name. */
export type Links = Lexer["tokens"]["links"];

/** `links` are those of the whole text; what this piece of it defines is added to them. */
export function made(source: string, links: Links, { withTimes = false } = {}): DocumentFragment {
  const options = { ...getDefaults(), gfm: true, breaks: true };
  const lexer = new Lexer(options);
  Object.assign(lexer.tokens.links, links);
  const tokens = lexer.lex(source);
  Object.assign(links, lexer.tokens.links);
  const fragment = cleaned(Parser.parse(tokens, options));
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  if (withTimes) markTimes(fragment);
  return fragment;
}

/** Of whatever a model wrote: nothing that runs, loads, looks like ours or can be filled in. */
function cleaned(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["style", "form", "input", "button", "img", "video", "audio", "iframe"],
    FORBID_ATTR: ["style", "class", "id"],
    RETURN_DOM_FRAGMENT: true,
  });
}

function markTimes(root: DocumentFragment): void {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  while (walker.nextNode()) {
    const node = walker.currentNode as Text;
    if (node.data.includes(":") && !node.parentElement?.closest("a, code, pre")) texts.push(node);
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
      pieces.push(node.data.slice(from, match.index), button);
      from = match.index + match[0].length;
    }
    pieces.push(node.data.slice(from));
    node.replaceWith(...pieces);
  }
}

/** What a button shows that stands for a time. */
export function secondsOf(button: Element): number {
  const [found] = (button.textContent ?? "").matchAll(TIME);
  return seconds(found?.[1] ?? "0");
}
