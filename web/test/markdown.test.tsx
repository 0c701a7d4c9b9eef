import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces, seconds } from "../src/ui/markdown";

const PARAGRAPH = `${"word ".repeat(300)}\n\n`;

test("a short text is one piece, a long one several, and nothing is lost", () => {
  assert.deepEqual(pieces("# a\n\nb"), ["# a\n\nb"]);
  const long = PARAGRAPH.repeat(10);
  assert.ok(pieces(long).length > 2);
  assert.equal(pieces(long).join(""), long);
});

test("code and lists are never cut in two", () => {
  const code = `\`\`\`\n${PARAGRAPH.repeat(6)}\`\`\`\n\n`;
  const list = `- item\n\n`.repeat(1000);
  assert.deepEqual(pieces(code + list).length, 1);
});

test("every piece knows what its links refer to", () => {
  const text = `${PARAGRAPH.repeat(6)}[a]: https://example.org\n`;
  assert.ok(pieces(text).every((piece) => piece.includes("[a]: https://example.org")));
});

test("times are seconds", () => {
  assert.deepEqual(["00:05", "1:30", "1:00:01"].map(seconds), [5, 90, 3601]);
});
