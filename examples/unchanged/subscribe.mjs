// A program as fal's page has it; nothing in it knows of Telecine:
//
//     telecine exec -- node subscribe.mjs

import { fal } from "@fal-ai/client";

const result = await fal.subscribe("openrouter/router/video", {
  input: {
    prompt: "What can you do?",
    model: "google/gemini-2.5-flash",
  },
  logs: true,
  onQueueUpdate: (update) => {
    if (update.status === "IN_PROGRESS") {
      update.logs.map((log) => log.message).forEach((message) => console.error(message));
    }
  },
});
console.log(result.data);
console.log(result.requestId);
