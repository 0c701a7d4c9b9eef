import assert from "node:assert/strict";
import { test } from "node:test";
import { createRef } from "preact";
import { Player } from "../src/pages/playground/player";
import { find, settled, show, type } from "./dom";

const ITEM = { key: 1, name: "a.mp4", url: "http://a/a.mp4", preview: "http://a/a.mp4", isLink: false, bytes: null, share: null, problem: null };

async function player(start: string, end: string) {
  const cuts: object[] = [];
  const place = show(<Player item={ITEM} player={createRef()} start={start} end={end} several={false} onCut={(cut) => cuts.push(cut)} />);
  const video = find<HTMLVideoElement>(place, "video");
  Object.defineProperty(video, "duration", { value: 10 });
  video.dispatchEvent(new Event("loadedmetadata"));
  await settled();
  const handle = (name: string) => find<HTMLInputElement>(place, `input[aria-label="${name}"]`);
  return { place, cuts, begin: handle("Begin at"), end: handle("End at") };
}

test("the handles are where the fields say, and tell it in words", async () => {
  const { place, begin, end } = await player("0:03", "8");
  assert.deepEqual([begin.value, end.value], ["3", "8"]);
  assert.deepEqual([begin.getAttribute("aria-valuetext"), end.getAttribute("aria-valuetext")], ["00:03", "00:08"]);
  place.close();
});

test("a handle that is moved sets its field, and one at the very end takes it back", async () => {
  const { place, cuts, begin, end } = await player("3", "8");
  await type(begin, "4.5");
  await type(end, "10");
  await type(begin, "0");
  assert.deepEqual(cuts, [{ start: "4.5" }, { end: "" }, { start: "" }]);
  place.close();
});

test("the handles do not pass each other", async () => {
  const { place, cuts, begin, end } = await player("3", "8");
  await type(begin, "9");
  await type(end, "1");
  assert.deepEqual(cuts, [{ start: "7.9" }, { end: "3.1" }]);
  place.close();
});

test("a YouTube link is a link, not a player", async () => {
  const item = { ...ITEM, isLink: true, url: "https://youtu.be/x", name: "youtu.be/x" };
  const place = show(<Player item={item} player={createRef()} start="" end="" several={false} onCut={() => {}} />);
  assert.equal(place.querySelector("video"), null);
  assert.equal(find<HTMLAnchorElement>(place, "a").href, "https://youtu.be/x");
  place.close();
});
