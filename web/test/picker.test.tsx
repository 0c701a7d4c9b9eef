import assert from "node:assert/strict";
import { test } from "node:test";
import { useState } from "preact/hooks";
import { Chosen, ModelPicker } from "../src/pages/playground/picker";
import type { Catalog } from "../src/pages/playground/models";
import { find, press, settled, show, type } from "./dom";

const takes = { video: ["file"], images: [], audio: [], pdfs: false, hears_videos: true };
const model = (name: string, takes_: Catalog["models"][0]["takes"] = takes) => ({
  model: name, provider: "p", name, description: null, context_tokens: null, takes: takes_, price_per_token: null,
});
const CATALOG: Catalog = { models: [model("p/one"), model("p/two"), model("p/text", { ...takes, video: [] })], aliases: {}, unavailable: {} };

function Held({ said }: { said: string[] }) {
  const [value, set] = useState("p/one");
  return (
    <ModelPicker
      id="model" describedBy="about" value={value} catalog={CATALOG} kinds={["video"]}
      onChange={(each) => {
        said.push(each);
        set(each);
      }}
    />
  );
}

async function opened(said: string[] = []) {
  const place = show(<Held said={said} />);
  const input = find<HTMLInputElement>(place, "[role=combobox]");
  input.dispatchEvent(new Event("focus"));
  await settled();
  return { place, input, options: () => [...place.querySelectorAll("[role=option] .name")].map((each) => each.textContent) };
}

test("it opens with every model that takes a video", async () => {
  const { place, input, options } = await opened();
  assert.deepEqual(options(), ["p/one", "p/two"]);
  assert.equal(input.getAttribute("aria-expanded"), "true");
  place.close();
});

test("arrows choose, Enter takes, and the reader is told which is meant", async () => {
  const said: string[] = [];
  const { place, input } = await opened(said);
  await press(input, "ArrowDown");
  await press(input, "ArrowDown");
  const active = input.getAttribute("aria-activedescendant") ?? "";
  assert.match(place.querySelector(`[id="${active}"]`)?.textContent ?? "", /p\/two/);
  await press(input, "Enter");
  assert.deepEqual(said, ["p/two"]);
  assert.equal(input.getAttribute("aria-expanded"), "false");
  place.close();
});

test("typing searches, and any name may be asked for", async () => {
  const said: string[] = [];
  const { place, input, options } = await opened(said);
  await type(input, "tw");
  assert.deepEqual(options(), ["p/two"]);
  await type(input, "my/alias");
  assert.deepEqual(options(), []);
  assert.equal(said.at(-1), "my/alias");
  place.close();
});

test("a search without a hit says so", async () => {
  const { place, input } = await opened();
  await type(input, "nothing like this");
  assert.equal(input.getAttribute("aria-expanded"), "false");
  assert.match(find(place, "[role=status]").textContent ?? "", /No model of the list/);
  place.close();
});

test("a name without its provider is described by where it goes", async () => {
  const estimate = { provider: "p", provider_model: "two" };
  const place = show(<Chosen value="two" catalog={CATALOG} estimate={estimate} />);
  assert.match(place.textContent ?? "", /goes to p\/two/);
  assert.match(place.textContent ?? "", /video: file/);
  place.close();
});
