// C117, C120: OpenAI's own client, and realtime.

import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

import { EP, described, mapped } from "../clients.mjs";

export async function c117(context) {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({
    baseURL: `${context.origin}/openrouter/router/openai/v1`,
    apiKey: "any",
    defaultHeaders: { Authorization: `Key ${context.key}` },
  });
  const { model } = context;
  const messages = [{ role: "user", content: context.prompt }];
  const whole = await client.chat.completions.create({ model, messages });
  const chunks = [];
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    chunks.push(chunk);
  }
  return { whole, chunks };
}

// Node 20 has a WebSocket, but hides it behind a flag.
export async function c120(context) {
  const child = spawn(process.execPath, ["--experimental-websocket", "run.mjs", "platform.connected"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(JSON.stringify(context));
  return JSON.parse(await text(child.stdout));
}

export async function connected(context) {
  const Native = globalThis.WebSocket;
  const opened = [];
  globalThis.WebSocket = class extends Native {
    constructor(url) {
      const { host, pathname, search } = new URL(url);
      opened.push(`${host}${pathname}`);
      super(`${context.realtime.replace("http", "ws")}${pathname}${search}`);
    }
  };
  return await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("realtime.connect hangs")), 20_000);
    const connection = mapped(context).realtime.connect(EP, {
      onResult: () => reject(new Error("a result from nowhere")),
      onError: (error) => resolve({ opened, error: described(error) }),
    });
    connection.send({ prompt: "x" });
  });
}
