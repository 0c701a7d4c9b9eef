import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Copy, Tabs } from "../src/ui/basics";
import { type Place, find, settled, show } from "./dom";

let place: Place;
afterEach(() => place.close());

const clipboard = (writeText: (text: string) => Promise<void>) =>
  Object.defineProperty(navigator, "clipboard", { value: { writeText }, configurable: true });
const secure = (isSecure: boolean) => Object.defineProperty(globalThis, "isSecureContext", { value: isSecure, configurable: true });

test("what may not be copied is told", async () => {
  secure(true);
  clipboard(() => Promise.reject(new Error("denied")));
  place = show(<Copy text="a" />);
  find(place, "button").click();
  await settled();
  assert.equal(find(place, "button").textContent, "Copying is not allowed here");
});

test("in a dialog on plain http it is copied from within the dialog, which keeps the focus", async () => {
  secure(false);
  let from: Element | null | undefined;
  Object.defineProperty(document, "execCommand", {
    value: () => {
      from = document.querySelector("textarea")?.parentElement;
      return true;
    },
    configurable: true,
  });
  place = show(
    <dialog open>
      <Copy text="a" />
    </dialog>,
  );
  const button = find(place, "button");
  button.focus();
  button.click();
  await settled();
  assert.equal(from?.tagName, "DIALOG");
  assert.equal(button.textContent, "Copied");
  assert.equal(document.activeElement, button);
});

test("one tab's Copied is not the next one's", async () => {
  secure(true);
  clipboard(async () => {});
  const tab = (name: string) => ({ name, body: () => <Copy key={name} text={name} label={`Copy ${name}`} /> });
  place = show(<Tabs label="Languages" tabs={[tab("one"), tab("two")]} />);
  find(place, ".copy").click();
  await settled();
  assert.equal(find(place, ".copy").textContent, "Copied");
  place.querySelectorAll<HTMLElement>("[role=tab]")[1]?.click();
  await settled();
  assert.equal(find(place, ".copy").textContent, "Copy two");
});
