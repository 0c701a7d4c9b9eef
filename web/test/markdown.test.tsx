import assert from "node:assert/strict";
import { test } from "node:test";
import { made, seconds, secondsOf } from "../src/ui/markdown";
import { morph } from "../src/ui/morph";
import { Pieces } from "../src/ui/pieces";

const PARAGRAPH = `${"word ".repeat(300)}\n\n`;

function cut(text: string): string[] {
  const pieces = new Pieces();
  pieces.take(text);
  return [...pieces.done, pieces.open];
}

test("a short text is one piece, a long one several, and nothing is lost", () => {
  assert.deepEqual(cut("# a\n\nb"), ["# a\n\nb"]);
  const long = PARAGRAPH.repeat(10);
  assert.equal(cut(long).length, 10);
  assert.equal(cut(long).join(""), long);
});

for (const [name, text] of [
  ["code", `\`\`\`\`\n${PARAGRAPH}\`\`\`\n\n${PARAGRAPH.repeat(6)}\`\`\`\`\n`],
  ["a quote", "> said\n\n".repeat(1000)],
  ["an item of a list", `- item\n\n${`  - ${"word ".repeat(300)}\n`.repeat(4)}`],
  ["a paragraph with what is no list", `${"word ".repeat(300)}\n2. not an item\n- an item\n`],
  ["an element of HTML", `<details>\n\n${PARAGRAPH.repeat(6)}</details>\n`],
  ["a comment", `<!--\n\n${PARAGRAPH.repeat(6)}-->\n`],
] as const) {
  test(`${name} is never cut in two`, () => assert.deepEqual(cut(text), [text]));
}

test("a list is cut between its items", () => {
  const items = Array.from({ length: 100 }, (_, n) => `${n + 1}. ${"word ".repeat(10)}\n`);
  const found = cut(items.join(""));
  assert.ok(found.length > 3);
  assert.equal(found.join(""), items.join(""));
  assert.ok(found.every((piece) => /^\d+\. /.test(piece)));
});

test("after code, HTML and elements without an end it is cut again", () => {
  const text = `\`\`\`\n<div>\n\`\`\`\n<b>x</b><br>and \`<p>\`\n\n`;
  assert.deepEqual(cut(text + PARAGRAPH + PARAGRAPH), [text + PARAGRAPH, PARAGRAPH]);
});

test("a text that grows by letters is cut where the whole of it is, and what is done stays", () => {
  const text = `${PARAGRAPH}12. one\n\n${PARAGRAPH}# Head\n\n${PARAGRAPH}\`\`\`\n${PARAGRAPH}\`\`\`\n\nend, and so on`;
  const pieces = new Pieces();
  let done: string[] = [];
  for (let end = 1; end <= text.length; end++) {
    assert.ok(pieces.take(text.slice(0, end)));
    assert.deepEqual(pieces.done.slice(0, done.length), done);
    done = [...pieces.done];
  }
  assert.deepEqual([...pieces.done, pieces.open], cut(text));
});

test("another text begins anew", () => {
  const pieces = new Pieces();
  pieces.take(PARAGRAPH.repeat(3));
  assert.equal(pieces.take("other"), false);
  assert.deepEqual([pieces.done, pieces.open], [[], "other"]);
});

function element(html: string): HTMLElement {
  const place = document.createElement("div");
  place.innerHTML = html;
  return place;
}

test("one tree becomes another, and what is the same in both is the same element", () => {
  const place = element('<p>one</p><ul><li>a</li></ul><p><a href="x">l</a></p><i>gone</i>');
  const [first, list] = place.children;
  const text = first?.firstChild;
  const wanted = '<p>one two</p><ul><li>a</li><li>b</li></ul><p><a href="y">l</a></p>';
  morph(place, element(wanted));
  assert.equal(place.innerHTML, wanted);
  assert.equal(place.children[0], first);
  assert.equal(first?.firstChild, text);
  assert.equal(place.children[1], list);
});

test("text that takes the place of an element does so", () => {
  const place = element("at <b>12</b> he");
  morph(place, element("at <button>12:30</button> he left"));
  assert.equal(place.innerHTML, "at <button>12:30</button> he left");
  morph(place, element("nothing"));
  assert.equal(place.innerHTML, "nothing");
});

test("what a piece defines is known to the ones that are made after it", () => {
  const links = {};
  made("[a]: https://example.org\n", links);
  assert.equal(made("see [a]", links).querySelector("a")?.getAttribute("href"), "https://example.org");
});

test("times are buttons where they can move something, but not in code", () => {
  const fragment = made("at [00:01:05] and `12:34`", {}, { withTimes: true });
  assert.deepEqual([...fragment.querySelectorAll("button")].map(secondsOf), [65]);
  assert.equal(made("at 00:05", {}).querySelector("button"), null);
});

test("times are seconds", () => {
  assert.deepEqual(["00:05", "1:30", "1:00:01"].map(seconds), [5, 90, 3601]);
});
