// Builds the pages into the Python package. The same sources and lock give the same bytes:
// tests/acceptance/test_pages_build.py builds them again and compares.
import { build } from "esbuild";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.argv[2] ?? join(here, "../src/telecine/ui");

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.tsx", "src/styles/index.css"],
  outdir: join(out, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const named = (entry) => {
  const found = Object.entries(result.metafile.outputs).find(([, o]) => o.entryPoint === entry);
  return `/ui/assets/${basename(found[0])}`;
};
const page = (await readFile(join(here, "src/index.html"), "utf8"))
  .replace("%SCRIPT%", named("src/main.tsx"))
  .replace("%STYLE%", named("src/styles/index.css"));
await writeFile(join(out, "index.html"), page);
await writeFile(join(out, "icon.svg"), await readFile(join(here, "src/icon.svg")));
for (const name of await readdir(join(here, "public")).catch(() => [])) {
  await writeFile(join(out, name), await readFile(join(here, "public", name)));
}
