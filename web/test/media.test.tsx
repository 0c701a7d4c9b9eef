import assert from "node:assert/strict";
import { test } from "node:test";
import { addresses, isYouTube, nameOf, suits } from "../src/pages/playground/media";

test("addresses are found in what was pasted, and nothing else is", () => {
  assert.deepEqual(addresses("see https://a.b/c.mp4\nhttp://d/e data:video/mp4;base64,AA== javascript:alert(1) file:///etc"), [
    "https://a.b/c.mp4", "http://d/e", "data:video/mp4;base64,AA==",
  ]);
  assert.deepEqual(addresses("just words"), []);
});

test("YouTube's pages are links, lookalikes are not", () => {
  for (const url of ["https://www.youtube.com/watch?v=x", "https://youtu.be/x", "https://m.youtube.com/shorts/x"]) assert.equal(isYouTube(url), true, url);
  for (const url of ["https://notyoutube.com/x", "https://youtube.com.evil.org/x", "nonsense"]) assert.equal(isYouTube(url), false, url);
});

test("a name is the last of the path, readable", () => {
  assert.equal(nameOf("https://a.b/c/my%20clip.mp4?x=1"), "my clip.mp4");
  assert.equal(nameOf("https://a.b/"), "a.b");
  assert.equal(nameOf("https://a.b/%E0%A4%A"), "https://a.b/%E0%A4%A");
  assert.equal(nameOf(`data:video/mp4;base64,${"A".repeat(5000)}`).length, 41);
});

test("a file goes where its type belongs; without one it may be a video", () => {
  const file = (name: string, type: string) => new File([], name, { type });
  assert.equal(suits(file("a.mp4", "video/mp4"), "video"), true);
  assert.equal(suits(file("a.png", "image/png"), "video"), false);
  assert.equal(suits(file("a.ts", ""), "video"), true);
  assert.equal(suits(file("a.PDF", ""), "pdf"), true);
});
