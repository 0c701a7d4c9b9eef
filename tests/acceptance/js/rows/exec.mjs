// What a program does under `telecine exec`: fal's clients as their pages have it, nothing moved.

import { execFileSync } from "node:child_process";
import { Worker } from "node:worker_threads";

import { EP, collected, failure } from "../clients.mjs";

const IN = { prompt: "hello", model: "echo/echo" };

async function client() {
  const { fal } = await import("@fal-ai/client");
  return fal;
}

export async function everything() {
  const fal = await client();
  const run = await fal.run(EP, { input: IN });
  const subscribed = await fal.subscribe(EP, { input: IN, pollInterval: 50 });
  const watched = await fal.subscribe(EP, { input: IN, mode: "streaming" });
  const stream = await collected(await fal.stream(EP, { input: IN }));
  const { request_id: requestId } = await fal.queue.submit(EP, { input: { ...IN, model: "echo/wait-60" } });
  await fal.queue.cancel(EP, { requestId });
  const fromClient = await collected(await fal.stream(EP, { input: IN, connectionMode: "client" }));
  return {
    outputs: [run, subscribed, watched].map(({ data }) => data.output).concat(stream.last.output, fromClient.last.output),
    events: stream.events.length,
  };
}

export async function uploads({ bytes }) {
  const fal = await client();
  const content = Buffer.alloc(bytes, "video ");
  const url = await fal.storage.upload(new File([content], "clip.mp4", { type: "video/mp4" }));
  const got = await fetch(url);
  const back = Buffer.from(await got.arrayBuffer());
  return { url, finalUrl: got.url, isSame: back.equals(content) };
}

export async function blob() {
  const fal = await client();
  const clip = new Blob(["not a video"], { type: "video/mp4" });
  return await failure(fal.run(EP, { input: { ...IN, video_urls: [clip] } }));
}

const CALL = `
  import("${import.meta.resolve("@fal-ai/client")}")
    .then(({ fal }) => fal.run("${EP}", { input: ${JSON.stringify(IN)} }))
    .then(({ data }) => process.stdout.write(data.output), (error) => process.stdout.write(String(error.cause ?? error)))`;

function worker(options) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(CALL, { eval: true, stdout: true, ...options });
    let said = "";
    worker.stdout.on("data", (data) => (said += data));
    worker.on("error", reject).on("exit", () => setImmediate(resolve, said));
  });
}

export async function workers() {
  const env = { FAL_KEY: process.env.FAL_KEY, LOOKUPS: process.env.LOOKUPS };
  return [await worker({}), await worker({ execArgv: [] }), await worker({ env }), await worker({ env, execArgv: [] })];
}

export async function child() {
  return execFileSync(process.execPath, ["-e", CALL]).toString();
}

export async function older() {
  const { default: fal } = await import("@fal-ai/serverless-client");
  const data = await fal.subscribe(EP, { input: IN, pollInterval: 50 });
  const url = await fal.storage.upload(new Blob(["hello"], { type: "video/mp4" }));
  return { data, url, back: await (await fetch(url)).text() };
}

export async function openai() {
  const { default: OpenAI } = await import("openai");
  const baseURL = "https://fal.run/openrouter/router/openai/v1";
  const ai = new OpenAI({ apiKey: process.env.FAL_KEY, baseURL, maxRetries: 0 });
  const messages = [{ role: "user", content: "hello" }];
  return await ai.chat.completions.create({ model: "echo/echo", messages }).then(() => "answered", String);
}

// Every way of Node's own to a host, by import and by require.
export async function lowly() {
  const { request } = await import("node:https");
  const { connect } = await import("node:tls");
  const body = JSON.stringify(IN);
  const headers = { "content-type": "application/json", authorization: `Key ${process.env.FAL_KEY}` };
  const read = (answer, done) => {
    let text = "";
    answer.on("data", (data) => (text += data)).on("end", () => done(JSON.parse(text).output));
  };
  const byRequest = await new Promise((done, fail) => {
    request(`https://fal.run/${EP}`, { method: "POST", headers }, (answer) => read(answer, done)).on("error", fail).end(body);
  });
  const byTls = await new Promise((done, fail) => {
    const socket = connect(443, "fal.run", {}, () => done(socket.authorized)).on("error", fail);
  });
  const init = { method: "POST", headers, body };
  const byRequestObject = await (await fetch(new Request(`https://fal.run/${EP}`, init))).json();
  const pieces = new ReadableStream({
    start(pieces) {
      for (const letter of body) pieces.enqueue(Buffer.from(letter));
      pieces.close();
    },
  });
  const byPieces = await (await fetch(`https://fal.run/${EP}`, { ...init, body: pieces, duplex: "half" })).json();
  const inTheOpen = await (await fetch(`http://fal.run/${EP}`, init)).json();
  return [byRequest, byTls, byRequestObject.output, byPieces.output, inTheOpen.output];
}

export async function aborted() {
  const fal = await client();
  const stop = new AbortController();
  const input = { ...IN, model: "echo/wait-60" };
  setTimeout(() => stop.abort(), 500);
  const { name } = await failure(fal.run(EP, { input, abortSignal: stop.signal }));
  return name;
}

export async function elsewhere({ local }) {
  const { get } = await import("node:http");
  const refused = async (url) => (await failure(fetch(url).catch((error) => Promise.reject(error.cause)))).message;
  return {
    byFetch: await refused("https://example.org/"),
    byHttp: await new Promise((done) => get("http://192.0.2.1/").on("error", (error) => done(error.message))),
    local: (await fetch(local)).status,
  };
}
