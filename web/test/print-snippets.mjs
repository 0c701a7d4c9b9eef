// For tests/acceptance/test_snippets.py: reads an array of calls from standard input, prints their snippets.
import { text } from "node:stream/consumers";
import "./setup.mjs";

const { snippets } = await import("../src/pages/playground/snippets.ts");
const calls = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(calls.map((call) => snippets(call))));
