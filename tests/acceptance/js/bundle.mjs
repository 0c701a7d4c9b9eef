// node bundle.mjs: prints fal's client and what it requires as one script for a page, which finds it
// as `fal`. The modules are CommonJS and used as published.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const modules = new Map();

function add(file) {
  if (modules.has(file)) return;
  modules.set(file, null);
  const text = readFileSync(file, "utf8");
  const source = file.endsWith(".json") ? `module.exports = ${text}` : text;
  const needs = {};
  for (const [, name] of source.matchAll(/\brequire\("([^"]+)"\)/g)) {
    needs[name] = createRequire(file).resolve(name);
    add(needs[name]);
  }
  modules.set(file, { source, needs });
}

const main = createRequire(import.meta.url).resolve("@fal-ai/client");
add(main);
const entries = [...modules].map(
  ([file, { source, needs }]) =>
    `${JSON.stringify(file)}: [${JSON.stringify(needs)}, function (module, exports, require) {\n${source}\n}]`,
);
process.stdout.write(`const fal = (() => {
const modules = {${entries.join(",\n")}};
const loaded = {};
function load(file) {
  if (loaded[file]) return loaded[file].exports;
  const module = (loaded[file] = { exports: {} });
  const [needs, run] = modules[file];
  run(module, module.exports, (name) => load(needs[name]));
  return module.exports;
}
return load(${JSON.stringify(main)});
})();
`);
