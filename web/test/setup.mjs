// Before every test: a document, and the sources importable as they stand.
import { Window } from "happy-dom";
import { register } from "node:module";

register("./loader.mjs", import.meta.url);

const window = new Window({ url: "http://127.0.0.1:8484/ui/playground" });
const OWN = ["window", "document", "location", "history", "localStorage", "sessionStorage", "navigator", "DOMParser", "NodeFilter",
  "Node", "Element", "Text", "HTMLElement", "HTMLDialogElement", "Event", "KeyboardEvent", "MouseEvent", "InputEvent", "XMLHttpRequest",
  "addEventListener", "removeEventListener", "requestAnimationFrame", "cancelAnimationFrame", "getComputedStyle", "scrollTo", "isSecureContext",
  "DocumentFragment", "NamedNodeMap", "HTMLFormElement", "HTMLTemplateElement", "MutationObserver"];
for (const name of OWN) {
  const value = window[name];
  Object.defineProperty(globalThis, name, {
    value: typeof value === "function" && /^[a-z]/.test(name) ? value.bind(window) : value,
    configurable: true,
    writable: true,
  });
}
Object.defineProperty(globalThis, "window", { value: globalThis, configurable: true });
