// node run.mjs GROUP.ROW: calls one row of rows/GROUP.mjs, prints what it returns.
//
// The first line of its input is the row's context, as JSON. Whatever line comes next is a signal:
// `await context.told()`.

import { createInterface } from "node:readline";

const [group, row] = process.argv[2].split(".");
const rows = await import(`./rows/${group}.mjs`);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const context = JSON.parse((await lines.next()).value);
const result = await rows[row]({ ...context, told: () => lines.next() });
process.stdout.write(`\n${JSON.stringify(result ?? null)}\n`, () => process.exit(0));
