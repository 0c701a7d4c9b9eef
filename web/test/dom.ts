// Renders into the document of test/setup.mjs.
import type { ComponentChild } from "preact";
import { render } from "preact";

export type Place = HTMLElement & { close: () => void };

export function show(what: ComponentChild): Place {
  const place = document.createElement("div");
  document.body.append(place);
  render(what, place);
  return Object.assign(place, {
    close: () => {
      render(null, place);
      place.remove();
    },
  });
}

/** When all that was set in motion is in the document. */
export const settled = (): Promise<void> => new Promise((done) => setTimeout(done, 60));

export function find<T extends HTMLElement>(place: ParentNode, selector: string): T {
  const found = place.querySelector<T>(selector);
  if (!found) throw new Error(`there is no ${selector}`);
  return found;
}

export async function type(input: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement, text: string): Promise<void> {
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  await settled();
}

export async function press(element: HTMLElement, key: string): Promise<void> {
  element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  await settled();
}
