// The Playground: one call to one endpoint, from the form to the receipt.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../../api";
import type { PageProps } from "../../app";
import { type Handle, IDLE, type Mode, type Run, isActive, start } from "../../runs";
import { type FieldSchema, inputOf } from "../../schema";
import { Button, Choice, ErrorNote, Field, Spinner } from "../../ui/basics";
import { Clips } from "./clips";
import { Code } from "./code";
import { EstimateView, useEstimate } from "./estimate";
import { SchemaField } from "./fields";
import { type Input, type Problems, type Values, groups, inputFrom, mediaFrom, mediaKind, placed, valuesFrom } from "./form";
import { KIND_NAMES, type Shelf, useMedia } from "./media";
import { type Catalog, catalog as askCatalog, firstChoice, fits } from "./models";
import { Chosen, ModelPicker } from "./picker";
import { Player } from "./player";
import { Result } from "./result";
import { Unlock } from "./unlock";

const VIDEO = "openrouter/router/video";
export const SAMPLE = { name: "sample.mp4", path: "/ui/sample.mp4", prompt: "What is said, and what is written on the slides?" };
const MODES = [
  ["run", "Run"],
  ["stream", "Stream"],
  ["queue", "Queue"],
] as const;

type Endpoint = { endpoint_id: string; metadata: { description: string } };

/** What was in the form, for when the reader comes back from another page. */
type Draft = { endpoint: string; values: Values; media: Record<string, string[]> };
const DRAFT = "telecine.playground";

export default function Playground({ query }: PageProps) {
  const [opened, setOpened] = useState<Draft | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const request = query.get("request");
  useEffect(() => {
    draft(query).then(setOpened, (error: Error) => {
      setProblem(error.message);
      setOpened({ endpoint: VIDEO, values: {}, media: {} });
    });
  }, [request]);
  if (!opened) return <Spinner label="Loading" />;
  return (
    <>
      <h1 class="off-screen">Playground</h1>
      <ErrorNote message={problem} />
      <Bench key={request ?? ""} draft={opened} />
    </>
  );
}

/** From the address (`?request=`, `?endpoint=`, `?model=`, `?prompt=`), else from the last visit. */
async function draft(query: URLSearchParams): Promise<Draft> {
  const request = query.get("request");
  if (request) {
    const story = await get<{ endpoint: string; input: Input | null }>(`/telecine/v1/requests/${encodeURIComponent(request)}`);
    if (!story.input) throw new Error("The input of this request is no longer kept.");
    const fields = await inputOf(story.endpoint);
    return { endpoint: story.endpoint, values: valuesFrom(fields, story.input), media: mediaFrom(fields, story.input) };
  }
  const known = stored();
  const endpoint = query.get("endpoint") ?? known?.endpoint ?? VIDEO;
  const values = { ...known?.values };
  for (const name of ["model", "prompt"]) {
    const given = query.get(name);
    if (given !== null) values[name] = given;
  }
  return { endpoint, values, media: known?.media ?? {} };
}

function stored(): Draft | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null") as Partial<Draft> | null;
    return found?.endpoint && found.values && found.media ? (found as Draft) : null;
  } catch {
    return null; // somebody else's, or none at all: the form begins empty
  }
}

function store(kept: Draft): void {
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify(kept));
  } catch {
    // Too much for it, or not allowed: then the form begins empty the next time.
  }
}

const mode0 = (): Mode => MODES.find(([name]) => name === localStorage.getItem("telecine.mode"))?.[0] ?? "stream";

// ---------------------------------------------------------------- the page

function Bench({ draft }: { draft: Draft }) {
  const [endpoint, setEndpoint] = useState(draft.endpoint);
  const [values, setValues] = useState<Values>(draft.values);
  const [settledPrompt, setSettledPrompt] = useState(draft.values["prompt"]);
  const [mode, setModeNow] = useState<Mode>(mode0);
  const [run, setRun] = useState<Run>(IDLE);
  const [cleared, setCleared] = useState<Problems>({});
  const [asked, setAsked] = useState<Input | null>(null);
  const [isTrying, setTrying] = useState(false);
  const handle = useRef<Handle | null>(null);
  const player = useRef<HTMLVideoElement>(null);
  const [chosenKey, setChosenKey] = useState<number | null>(null);
  const shelf = useMedia();
  const endpoints = useEndpoints();
  const { fields, problem: schemaProblem } = useFields(endpoint);
  const catalog = useCatalog();
  useEffect(() => {
    shelf.replace(draft.media);
    return () => handle.current?.leave();
  }, []);

  const parts = useMemo(() => groups(fields ?? []), [fields]);
  const kinds = useMemo(() => parts.media.flatMap((field) => mediaKind(field) ?? []), [parts]);
  const set = (name: string, value: string | boolean) => {
    setValues((known) => ({ ...known, [name]: value }));
    setCleared((known) => ({ ...known, [name]: "" }));
  };
  useFirstModel(catalog.found, parts.first, kinds, values["model"], set);

  const urls = useMemo(() => urlsOf(shelf, parts.media), [shelf.media, parts]);
  const { input, problems: own } = useMemo(() => inputFrom(fields ?? [], values, urls), [fields, values, urls]);
  // Not made anew for every word that streams in.
  const code = useMemo(
    () => <Code origin={location.origin} endpoint={endpoint} input={input} mode={mode} />,
    [endpoint, input, mode],
  );
  // Before the fields are there nobody knows which media belong to them. What can be seen is stored.
  useLayoutEffect(() => {
    if (fields) store({ endpoint, values, media: urls });
  }, [endpoint, values, urls, fields]);

  // The prompt's letters are not worth fetching the videos again: it counts when it was left.
  const hasSomething = !!settledPrompt || Object.keys(urls).length > 0;
  const isAskable = hasSomething && !!input["model"] && !shelf.isUploading && hasNeeded(parts.media, urls) && !Object.keys(own).length;
  const estimated = useEstimate(endpoint, isAskable ? { ...input, prompt: settledPrompt || "?" } : null);

  // What was wrong with another input is not wrong with this one.
  const failed = asked === input ? run.failure?.problems : undefined;
  const told = placed(failed ?? estimated.problems, fields ?? []);
  const problems: Record<string, string> = { ...told.at, ...cleared, ...own };

  const active = isActive(run);
  const begin = () => {
    if (active || shelf.isUploading) return;
    handle.current = start(endpoint, input, mode, setRun);
    setAsked(input);
    setCleared({});
  };
  useEffect(() => {
    if (!isTrying || shelf.isUploading || !fields || !hasNeeded(parts.media, urls)) return;
    setTrying(false);
    begin();
  }, [isTrying, shelf.isUploading, fields, urls]);
  const setMode = (chosen: Mode) => {
    setModeNow(chosen);
    localStorage.setItem("telecine.mode", chosen);
  };
  const cut = (news: { start?: string; end?: string }) => {
    if (news.start !== undefined) set("start", news.start);
    if (news.end !== undefined) set("end", news.end);
  };
  const seek = (to: number) => {
    if (!player.current) return;
    player.current.currentTime = to;
    player.current.scrollIntoView({ block: "nearest" });
    player.current.focus();
  };
  const useSample = async (field: string) => {
    shelf.addFiles(field, [await sample()], 100);
    if (!values["prompt"]) {
      set("prompt", SAMPLE.prompt);
      setSettledPrompt(SAMPLE.prompt);
    }
  };

  /** One click from nothing to an answer. */
  const tryIt = (model: string) => {
    set("model", model);
    void useSample("video_urls").then(() => setTrying(true), () => {});
  };

  const field = (schema: FieldSchema) =>
    schema.name === "model" ? (
      <Field key="model" label="Model" error={problems["model"]} hint={<Chosen value={String(values["model"] ?? "")} catalog={catalog.found} estimate={estimated.isAsking ? null : estimated.estimate} />}>
        {(id, describedBy) => (
          <ModelPicker
            id={id}
            describedBy={describedBy}
            value={String(values["model"] ?? "")}
            onChange={(model) => set("model", model)}
            catalog={catalog.found}
            kinds={kinds}
          />
        )}
      </Field>
    ) : (
      <SchemaField
        key={schema.name}
        field={schema}
        value={values[schema.name]}
        problem={problems[schema.name]}
        onChange={(value) => set(schema.name, value)}
        {...(schema.name === "prompt" ? { onSettled: () => setSettledPrompt(values["prompt"]) } : {})}
      />
    );

  const videos = shelf.media["video_urls"] ?? [];
  const chosen = videos.find((item) => item.key === chosenKey) ?? videos[0] ?? null;
  const chosenMore = parts.more.filter((each) => each.name in input).length;
  return (
    <div
      class="playground"
      onKeyDown={(event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        setSettledPrompt(values["prompt"]);
        begin();
      }}
    >
      <div class="left">
        <Unlock catalog={catalog.found} onTry={endpoint === VIDEO && run.phase === "idle" && !isTrying && !videos.length ? tryIt : null} />
        <section class="panel form" aria-label="Input">
          <Field label="Endpoint" hint={endpoints.find((each) => each.endpoint_id === endpoint)?.metadata.description}>
            {(id, describedBy) => (
              <select id={id} aria-describedby={describedBy} value={endpoint} onInput={(event) => setEndpoint(event.currentTarget.value)}>
                {names(endpoints, endpoint).map((name) => (
                  <option value={name}>{name}</option>
                ))}
              </select>
            )}
          </Field>
          <ErrorNote message={schemaProblem} />
          {fields ? null : <Spinner label="Loading the form" />}
          {parts.media.map((schema) => (
            <Clips
              key={schema.name}
              field={schema.name}
              kind={mediaKind(schema) ?? "video"}
              isSeveral={schema.kind === "list"}
              shelf={shelf}
              problem={problems[schema.name]}
              chosen={chosen?.key ?? null}
              onChoose={setChosenKey}
              onSample={schema.name === "video_urls" && !videos.length ? () => void useSample(schema.name) : null}
            />
          ))}
          {chosen && kinds.includes("video") ? (
            <Player
              item={chosen}
              player={player}
              start={String(values["start"] ?? "")}
              end={String(values["end"] ?? "")}
              onCut={cut}
              several={videos.length > 1}
            />
          ) : null}
          {parts.player.length && videos.length ? <div class="row">{parts.player.map(field)}</div> : null}
          {parts.first.filter((each) => !isSmall(each)).map(field)}
          <div class="row">{parts.first.filter(isSmall).map(field)}</div>
          {parts.more.length ? (
            <details class="more" open={parts.more.some((each) => problems[each.name]) || undefined}>
              <summary>More{chosenMore ? ` (${chosenMore} set)` : ""}</summary>
              {parts.more.map(field)}
            </details>
          ) : null}
        </section>
      </div>
      <div class="right">
        <section class="panel runbar" aria-label="Run">
          <div class="head">
            <Choice label="How to call it" options={MODES} value={mode} onChange={setMode} />
            {active ? (
              <Button kind="danger" onClick={() => handle.current?.stop()}>
                Stop
              </Button>
            ) : (
              <Button kind="primary" disabled={!fields || shelf.isUploading || Object.keys(own).length > 0} onClick={begin}>
                {shelf.isUploading ? "Uploading…" : RUN_NAMES[mode]}
              </Button>
            )}
          </div>
          <EstimateView state={estimated} what={missing(input, parts.media, urls, shelf.isUploading)} />
          <ErrorNote message={[...told.others, catalog.problem].filter(Boolean).join(" ")} />
        </section>
        <Result run={run} isUploading={shelf.isUploading} onSeek={seek} />
        {code}
      </div>
    </div>
  );
}

const RUN_NAMES: Record<Mode, string> = { run: "Run it", stream: "Stream it", queue: "Queue it" };

const isSmall = (field: FieldSchema): boolean => ["reasoning", "temperature", "max_tokens"].includes(field.name);

const names = (endpoints: readonly Endpoint[], chosen: string): string[] => [
  ...new Set([...endpoints.map((each) => each.endpoint_id), chosen]),
];

function urlsOf(shelf: Shelf, fields: readonly FieldSchema[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const { name } of fields) {
    const urls = (shelf.media[name] ?? []).map((item) => item.url).filter(Boolean);
    if (urls.length) found[name] = urls;
  }
  return found;
}

export const hasNeeded = (fields: readonly FieldSchema[], urls: Record<string, string[]>): boolean =>
  fields.every((field) => !field.required || urls[field.name]?.length);

function missing(input: Input, fields: readonly FieldSchema[], urls: Record<string, string[]>, isUploading: boolean): string {
  if (isUploading) return "When the upload is done, it says how this would be sent and what it may cost.";
  const needed = fields.find((field) => field.required && !urls[field.name]?.length);
  if (needed) return `Still needed: ${KIND_NAMES[mediaKind(needed) ?? "video"][needed.kind === "list" ? 1 : 0]}.`;
  if (!input["model"]) return "Still needed: a model.";
  return input["prompt"] ? "" : "With a prompt or a video it says here how this would be sent, and what it may cost.";
}

export async function sample(): Promise<File> {
  const answer = await fetch(SAMPLE.path);
  return new File([await answer.blob()], SAMPLE.name, { type: "video/mp4" });
}

// ---------------------------------------------------------------- what the server tells

/** Those with a form: the ones in OpenAI's words have none. */
function useEndpoints(): Endpoint[] {
  const [endpoints, setEndpoints] = useState<Endpoint[]>([]);
  useEffect(() => {
    get<{ models: Endpoint[] }>("/v1/models?limit=100").then(
      ({ models }) => setEndpoints(models.filter((each) => !each.endpoint_id.includes("/openai/"))),
      () => {}, // the chosen one is there in any case
    );
  }, []);
  return endpoints;
}

export function useFields(endpoint: string): { fields: FieldSchema[] | null; problem: string | null } {
  const [fields, setFields] = useState<FieldSchema[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    setProblem(null);
    inputOf(endpoint, abort.signal).then(setFields, (error: Error) => {
      if (abort.signal.aborted) return;
      setFields(null);
      setProblem(error.message);
    });
    return () => abort.abort();
  }, [endpoint]);
  return { fields, problem };
}

export function useCatalog(): { found: Catalog | null; problem: string | null } {
  const [found, setFound] = useState<Catalog | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    askCatalog().then(setFound, (error: Error) => setProblem(error.message));
  }, []);
  return { found, problem };
}

/** Until somebody chose, the field has a model that works here. */
function useFirstModel(
  catalog: Catalog | null,
  fields: readonly FieldSchema[],
  kinds: readonly NonNullable<ReturnType<typeof mediaKind>>[],
  chosen: string | boolean | undefined,
  set: (name: string, value: string) => void,
): void {
  useEffect(() => {
    const schema = fields.find((field) => field.name === "model");
    if (!catalog || !schema || chosen !== undefined) return;
    const fitting = catalog.models.filter((model) => fits(model, kinds));
    const first = firstChoice(fitting, catalog.aliases, schema.examples);
    if (first) set("model", first);
  }, [catalog, fields, chosen]);
}
