import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Clips } from "../src/pages/playground/clips";
import { type Shelf, useMedia } from "../src/pages/playground/media";
import { type Place, find, settled, show, type } from "./dom";

let shelf: Shelf;
let place: Place;

function Held({ isSeveral = true }: { isSeveral?: boolean }) {
  shelf = useMedia();
  return <Clips field="video_urls" kind="video" isSeveral={isSeveral} shelf={shelf} problem={undefined} chosen={null} onChoose={() => {}} onSample={null} />;
}

/** Uploads begin and go as far as `sent` says. */
class Sending {
  static all: Sending[] = [];
  upload: { onprogress?: (event: object) => void } = {};
  status = 200;
  isAborted = false;
  onload = () => {};
  onerror = () => {};
  onabort = () => {};
  open() {}
  setRequestHeader() {}
  send() {
    Sending.all.push(this);
  }
  abort() {
    this.isAborted = true;
    this.onabort();
  }
}
Object.assign(globalThis, { XMLHttpRequest: Sending });
globalThis.fetch = async () => Response.json({ upload_url: "http://127.0.0.1:8484/up", file_url: "http://127.0.0.1:8484/files/a.mp4" });

afterEach(() => {
  place.close();
  Sending.all = [];
});

const names = () => [...place.querySelectorAll("li .name")].map((each) => each.textContent);
const labelled = (label: string) => find<HTMLButtonElement>(place, `[aria-label="${label}"]`);

async function add(...urls: string[]) {
  for (const url of urls) {
    await type(find<HTMLInputElement>(place, ".address input"), url);
    find(place, ".address").dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
    await settled();
  }
}

test("addresses are added, put in another order and removed", async () => {
  place = show(<Held />);
  await add("http://a/1.mp4", "https://youtu.be/x");
  assert.deepEqual(names(), ["1.mp4", "youtu.be/x"]);
  assert.match(place.textContent ?? "", /YouTube link/);
  labelled("youtu.be/x: further up").click();
  await settled();
  assert.deepEqual(names(), ["youtu.be/x", "1.mp4"]);
  labelled("Remove youtu.be/x").click();
  await settled();
  assert.deepEqual(names(), ["1.mp4"]);
});

test("what is no address is refused with a word", async () => {
  place = show(<Held />);
  await add("clip.mp4");
  assert.deepEqual(names(), []);
  assert.match(find(place, ".said").textContent ?? "", /begins with https/);
});

test("where one is taken, the next takes its place", async () => {
  place = show(<Held isSeveral={false} />);
  await add("http://a/1.mp4", "http://a/2.mp4");
  assert.deepEqual(names(), ["2.mp4"]);
});

test("an upload tells how far it is, and then has an address", async () => {
  place = show(<Held />);
  shelf.addFiles("video_urls", [new File(["x"], "a.mp4", { type: "video/mp4" })], 100);
  await settled();
  assert.equal(shelf.isUploading, true);
  const [sending] = Sending.all;
  sending?.upload.onprogress?.({ lengthComputable: true, loaded: 1, total: 4 });
  await settled();
  assert.equal(find(place, "progress").getAttribute("value"), "0.25");
  sending?.onload();
  await settled();
  assert.equal(shelf.isUploading, false);
  assert.equal(shelf.media["video_urls"]?.[0]?.url, "http://127.0.0.1:8484/files/a.mp4");
});

test("an upload that is cancelled stops and is gone", async () => {
  place = show(<Held />);
  shelf.addFiles("video_urls", [new File(["x"], "a.mp4", { type: "video/mp4" })], 100);
  await settled();
  labelled("Cancel the upload of a.mp4").click();
  await settled();
  assert.equal(Sending.all[0]?.isAborted, true);
  assert.deepEqual(names(), []);
});

test("the focus stays near when a clip goes", async () => {
  place = show(<Held />);
  await add("http://a/1.mp4", "http://a/2.mp4");
  labelled("Remove 1.mp4").click();
  await settled();
  assert.equal(document.activeElement, labelled("Remove 2.mp4"));
  labelled("Remove 2.mp4").click();
  await settled();
  assert.equal(document.activeElement?.textContent, "Choose files");
});

test("an upload that is refused says why", async () => {
  const before = globalThis.fetch;
  globalThis.fetch = async () => Response.json({ detail: "This key may not upload files" }, { status: 403 });
  place = show(<Held />);
  shelf.addFiles("video_urls", [new File(["x"], "a.mp4", { type: "video/mp4" })], 100);
  await settled();
  globalThis.fetch = before;
  assert.match(place.textContent ?? "", /This key may not upload files/);
});

test("an upload that failed says so and can be tried again", async () => {
  place = show(<Held />);
  shelf.addFiles("video_urls", [new File(["x"], "a.mp4", { type: "video/mp4" })], 100);
  await settled();
  Sending.all[0]?.onerror();
  await settled();
  assert.match(place.textContent ?? "", /broke off/);
  [...place.querySelectorAll("button")].find((each) => each.textContent === "Try again")?.click();
  await settled();
  assert.equal(Sending.all.length, 2);
});
