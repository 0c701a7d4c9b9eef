import assert from "node:assert/strict";
import { test } from "node:test";
import { render } from "preact";
import { Answer } from "../src/ui/answer";
import { find, settled, show } from "./dom";

/** Until `is` holds: how much is made in a frame depends on how fast it goes. */
async function until(is: () => unknown): Promise<void> {
  for (let turns = 100; !is(); turns--) {
    if (!turns) throw new Error("it never came to that");
    await settled();
  }
}

const PARAGRAPH = `${"word ".repeat(300)}\n\n`;

async function grown(...texts: string[]) {
  const place = show(<Answer text="" isComing />);
  for (const text of texts) {
    render(<Answer text={text} isComing />, place);
    await until(() => place.textContent?.trim().endsWith(text.trim().slice(-9)));
  }
  return place;
}

test("a text that grows leaves what it has written where it is", async () => {
  const place = await grown(PARAGRAPH, `${PARAGRAPH}This is the second`);
  const parts = [...place.querySelectorAll(".part")];
  const nodes = parts.map((part) => part.firstChild);
  assert.equal(parts.length, 2);
  render(<Answer text={`${PARAGRAPH}This is the second of **three**`} isComing />, place);
  await until(() => place.querySelector("strong"));
  assert.deepEqual([...place.querySelectorAll(".part")], parts);
  assert.ok(parts.every((part, at) => part.firstChild === nodes[at]));
  place.close();
});

test("another text takes the place of the first", async () => {
  const place = await grown(PARAGRAPH.repeat(3), "other");
  assert.equal(place.textContent?.trim(), "other");
  place.close();
});

test("a long answer that is there already is in the page as a whole, in its order", async () => {
  const text = Array.from({ length: 400 }, (_, n) => `Paragraph ${n} ${"word ".repeat(40)}`).join("\n\n");
  const place = show(<Answer text={text} isComing={false} />);
  await until(() => place.textContent?.includes("Paragraph 399"));
  const found = [...place.textContent!.matchAll(/Paragraph (\d+)/g)].map(([, number]) => Number(number));
  assert.deepEqual(found, Array.from({ length: 400 }, (_, n) => n));
  place.close();
});

test("a link defined at the end works at the beginning, once the definition is whole", async () => {
  const before = `See [the page].\n\n${PARAGRAPH}Also this.\n\n[the page]: https://example.o`;
  const place = show(<Answer text={before} isComing />);
  await until(() => place.querySelectorAll(".part").length === 2);
  assert.equal(place.querySelector(".part a"), null);
  render(<Answer text={`${before}rg`} isComing={false} />, place);
  await until(() => place.querySelector("a"));
  assert.equal(find(place, "a").getAttribute("href"), "https://example.org");
  place.close();
});

test("a time moves the player to where it says now", async () => {
  const sought: number[] = [];
  const answer = (text: string) => <Answer text={text} isComing onSeek={(at) => sought.push(at)} />;
  const place = show(answer("At 1:30"));
  await until(() => place.querySelector("button.time"));
  render(answer("At 1:30:15 sharp"), place);
  await until(() => place.textContent?.includes("sharp"));
  find(place, "button.time").click();
  assert.deepEqual(sought, [5415]);
  place.close();
});
