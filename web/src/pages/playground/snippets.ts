// The call of the form as code: true for this input and this server. Pure; tests run every one of them.
import type { Mode } from "../../runs";

export type Snippet = { name: string; language: string; text: string; about: string };
export type Asked = { origin: string; endpoint: string; input: Record<string, unknown>; mode: Mode };

export function snippets(asked: Asked): Snippet[] {
  return [javaScript(asked), python(asked), curl(asked), openai(asked), ...terminal(asked)];
}

// ---------------------------------------------------------------- JavaScript

function javaScript({ origin, endpoint, input, mode }: Asked): Snippet {
  const call = `"${endpoint}", {\n  input: ${indented(json(input), "  ")},\n`;
  const ending = {
    run: `const { data } = await fal.run(${call}});\nconsole.log(data.output);`,
    stream:
      `const stream = await fal.stream(${call}});\n` +
      "for await (const event of stream) console.log(event.output); // all the text so far\n" +
      "console.log((await stream.done()).usage);",
    queue:
      `const { data, requestId } = await fal.subscribe(${call}  logs: true,\n` +
      "  onQueueUpdate: (update) => console.log(update.status),\n});\n" +
      "console.log(requestId, data.output);",
  }[mode];
  const text = `import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: ${json(`${origin}/api/fal/proxy`)}, when: "always" },
});
${ending}
`;
  return {
    name: "JavaScript",
    language: "javascript",
    text,
    about: "npm install @fal-ai/client, 1.10 or newer; a file that ends in .mjs; a key of this server in FAL_KEY.",
  };
}

// ---------------------------------------------------------------- Python

function python({ origin, endpoint, input, mode }: Asked): Snippet {
  const call = `${json(endpoint)}, ${literal(input)}`;
  const ending = {
    run: `result = fal_client.run(${call})\nprint(result["output"])`,
    stream: `for event in fal_client.stream(${call}):\n    print(event["output"])  # all the text so far`,
    queue: `result = fal_client.subscribe(${call}, with_logs=True, on_queue_update=print)\nprint(result["output"])`,
  }[mode];
  const text = `import os

import fal_client
import telecine

telecine.connect(${json(origin)}, key=os.environ["FAL_KEY"])
${ending}
`;
  return {
    name: "Python",
    language: "python",
    text,
    about: "Telecine and fal-client in one environment; a key of this server in FAL_KEY.",
  };
}

// ---------------------------------------------------------------- cURL

function curl({ origin, endpoint, input, mode }: Asked): Snippet {
  const path = { run: endpoint, stream: `${endpoint}/stream`, queue: `queue/${endpoint}` }[mode];
  const head = `curl -sS${mode === "stream" ? "N" : ""} --fail-with-body ${quoted(`${origin}/${path}`)}`;
  const text = `${head} \\
  -H "Authorization: Key $FAL_KEY" -H "Content-Type: application/json" \\
  -d ${quoted(json(input))}
`;
  const about = {
    run: "A key of this server in FAL_KEY.",
    stream: "A key of this server in FAL_KEY. Each event has all the text so far.",
    queue: "A key of this server in FAL_KEY. The answer names status_url and response_url: ask there, with the same key.",
  }[mode];
  return { name: "cURL", language: "shell", text, about };
}

// ---------------------------------------------------------------- OpenAI SDK

const PARTS = { video_urls: "video_url", image_urls: "image_url", audio_url: "audio_url" } as const;
const SAID_BY_OPENAI = new Set(["temperature", "max_tokens", "seed", "stop", "response_format"]);
const SAID_BESIDE = new Set(["models", "provider"]);
const PARTS_OF_IT = new Set(["prompt", "system_prompt", "model", "reasoning", ...Object.keys(PARTS)]);

function openai({ origin, input, mode }: Asked): Snippet {
  const named: [string, unknown][] = [
    ["model", input["model"] ?? ""],
    ["messages", messages(input)],
    ...Object.entries(input).filter(([name]) => SAID_BY_OPENAI.has(name)),
  ];
  const beside = Object.fromEntries(Object.entries(input).filter(([name]) => SAID_BESIDE.has(name)));
  const { reasoning } = input;
  if (typeof reasoning === "string") named.push(["reasoning_effort", reasoning]);
  if (reasoning === true) beside["reasoning"] = { enabled: true };
  if (Object.keys(beside).length) named.push(["extra_body", beside]);
  if (mode === "stream") named.push(["stream", true]);
  const unsaid = Object.keys(input).filter(
    (name) => !PARTS_OF_IT.has(name) && !SAID_BY_OPENAI.has(name) && !SAID_BESIDE.has(name),
  );
  const call = named.map(([name, value]) => `    ${name}=${indented(literal(value), "    ")},\n`).join("");
  const ending =
    mode === "stream"
      ? 'for chunk in answer:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="")'
      : "print(answer.choices[0].message.content)";
  const text = `import os

from openai import OpenAI

client = OpenAI(
    base_url=${json(`${origin}/openrouter/router/openai/v1`)}, api_key=os.environ["FAL_KEY"]
)
answer = client.chat.completions.create(
${call})
${ending}
`;
  return {
    name: "OpenAI SDK",
    language: "python",
    text,
    about:
      "pip install openai; a key of this server in FAL_KEY." +
      (unsaid.length ? ` OpenAI’s API has no words for ${unsaid.join(", ")}: left out here.` : ""),
  };
}

function messages(input: Asked["input"]): unknown[] {
  const media = Object.entries(PARTS).flatMap(([name, type]) =>
    [input[name] ?? []].flat().map((url) => ({ type, [type]: { url } })),
  );
  const prompt = String(input["prompt"] ?? "");
  const asked = { role: "user", content: media.length ? [{ type: "text", text: prompt }, ...media] : prompt };
  const system = input["system_prompt"];
  return system ? [{ role: "system", content: system }, asked] : [asked];
}

// ---------------------------------------------------------------- telecine run

function terminal({ origin, endpoint, input, mode }: Asked): Snippet[] {
  const videos = [input["video_urls"] ?? []].flat().map(String);
  if (!/\/video(\/|$)/.test(endpoint) || !videos.length) return [];
  const unsaid = Object.keys(input).filter((name) => !["prompt", "model", "video_urls"].includes(name));
  const words = [
    `telecine run ${videos.map(quoted).join(" ")}`,
    `-p ${quoted(String(input["prompt"] ?? ""))}`,
    `-m ${quoted(String(input["model"] ?? ""))}`,
    `--server ${quoted(origin)}${mode === "stream" ? " --stream" : ""}`,
  ];
  const about =
    "A key of this server in TELECINE_KEY or FAL_KEY. In place of the address may stand a file." +
    (unsaid.length ? ` The command has no words for ${unsaid.join(", ")}: left out here.` : "");
  return [{ name: "telecine run", language: "shell", text: `${words.join(" \\\n  ")}\n`, about }];
}

// ---------------------------------------------------------------- literals

const json = (value: unknown): string => JSON.stringify(value, null, 2);

const indented = (text: string, by: string): string => text.replaceAll("\n", `\n${by}`);

/** For a POSIX shell: nothing inside single quotes means anything but themselves. */
export const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

/** A value of JSON as Python writes it. A string of JSON is one of Python's too. */
export function literal(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return block("[", value.map(literal), "]");
  if (typeof value !== "object") return JSON.stringify(value);
  return block("{", Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each)}`), "}");
}

function block(open: string, items: string[], close: string): string {
  if (!items.length) return open + close;
  return `${open}\n${items.map((item) => `    ${indented(item, "    ")},\n`).join("")}${close}`;
}
