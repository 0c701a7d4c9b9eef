// The sandbox on the screen: the input for all, a column per model, what differs, and keeping it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Handle, isActive, start } from "../../runs";
import type { FieldSchema } from "../../schema";
import { Button, ErrorNote, Spinner } from "../../ui/basics";
import { SAMPLE, hasNeeded, sample, useCatalog, useFields } from "../playground";
import { Clips } from "../playground/clips";
import { sumInWords } from "../playground/estimate";
import { SchemaField } from "../playground/fields";
import { type Problems, type Values, groups, inputFrom, mediaFrom, mediaKind, placed, valuesFrom } from "../playground/form";
import { useMedia } from "../playground/media";
import { type Catalog, fits } from "../playground/models";
import { Player } from "../playground/player";
import { Unlock } from "../playground/unlock";
import { ColumnView } from "./column";
import { type Column, MOST, type Sandbox, fresh, moved, opened, stable } from "./columns";
import { Comparison } from "./comparison";
import { Keeping } from "./keeping";

type Props = { sandbox: Sandbox; onSaved: (id: string) => void };

export function Bench({ sandbox, onSaved }: Props) {
  const { fields, problem } = useFields(sandbox.endpoint);
  return (
    <>
      <ErrorNote message={problem} />
      {fields ? <Filled sandbox={sandbox} fields={fields} onSaved={onSaved} /> : problem ? null : <Spinner label="Loading the form" />}
    </>
  );
}

function Filled({ sandbox, fields, onSaved }: Props & { fields: readonly FieldSchema[] }) {
  const asked = useMemo(() => fields.filter((field) => field.name !== "model"), [fields]);
  const [values, setValues] = useState<Values>(() => valuesFrom(asked, sandbox.input));
  const [columns, setColumns] = useState<readonly Column[]>(() => opened(sandbox));
  const [settledPrompt, setSettledPrompt] = useState(values["prompt"]);
  const [chosenKey, setChosenKey] = useState<number | null>(null);
  const shelf = useMedia();
  const catalog = useCatalog();
  const handles = useRef(new Map<number, Handle>());
  const player = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    shelf.replace(mediaFrom(asked, sandbox.input));
    return () => handles.current.forEach((handle) => handle.stop());
  }, []);
  useFirstModels(catalog.found, columns, setColumns);

  const parts = useMemo(() => groups(asked), [asked]);
  const urls = Object.fromEntries(
    parts.media
      .map(({ name }): [string, string[]] => [name, (shelf.media[name] ?? []).map((item) => item.url).filter(Boolean)])
      .filter(([, each]) => each.length),
  );
  const { input, problems: own } = inputFrom(asked, values, urls);
  const now = stable(input);

  const change = (key: number, news: Partial<Column>) =>
    setColumns((known) => known.map((each) => (each.key === key ? { ...each, ...news } : each)));
  const set = (name: string, value: string | boolean) => setValues((known) => ({ ...known, [name]: value }));
  const canRun = !shelf.isUploading && !Object.keys(own).length && !!input["prompt"];
  // The prompt's letters are not worth fetching the videos again: it counts when it was left.
  const hasSomething = !!settledPrompt || Object.keys(urls).length > 0;
  const isAskable = hasSomething && !shelf.isUploading && hasNeeded(parts.media, urls) && !Object.keys(own).length;
  const askable = isAskable ? { ...input, prompt: settledPrompt || "?" } : null;
  const estimates = columns.flatMap(({ estimate }) => estimate ?? []);
  const active = columns.filter(({ run }) => isActive(run));
  const run = ({ key, model }: Column) => {
    change(key, { receipt: null, asked: now, isForeign: false });
    handles.current.set(key, start(sandbox.endpoint, { ...input, model }, "stream", (state) => change(key, { run: state })));
  };
  const runAll = () => {
    if (canRun) columns.filter((column) => column.model && !isActive(column.run)).forEach(run);
  };
  const stop = (key: number) => handles.current.get(key)?.stop();
  const remove = (key: number) => {
    handles.current.delete(key);
    setColumns((known) => known.filter((each) => each.key !== key));
  };
  const seek = (to: number) => {
    if (!player.current) return;
    player.current.currentTime = to;
    player.current.scrollIntoView({ block: "nearest" });
  };
  const useSample = (field: string) => {
    void sample().then((file) => shelf.addFiles(field, [file], 100));
    if (values["prompt"]) return;
    set("prompt", SAMPLE.prompt);
    setSettledPrompt(SAMPLE.prompt);
  };

  // What was wrong with another input is not wrong with this one.
  const told = shared(columns.filter((column) => column.asked === now), asked);
  const problems: Problems = { ...told.at, ...own };
  const schemaField = (schema: FieldSchema) => (
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
  const prompts = parts.first.filter((field) => field.name === "prompt");
  const rest = [...parts.first.filter((field) => field.name !== "prompt"), ...parts.more];
  const media = parts.media.filter((field) => mediaKind(field) === "video" || urls[field.name]);
  return (
    <div
      class="sandbox"
      onKeyDown={(event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        setSettledPrompt(values["prompt"]);
        runAll();
      }}
    >
      <Unlock catalog={catalog.found} />
      <section class="panel shared" aria-label="Input for all models">
        <div class="clips-side">
          {media.map((schema) => (
            <Clips
              key={schema.name}
              field={schema.name}
              kind={mediaKind(schema) ?? "video"}
              isSeveral={schema.kind === "list"}
              shelf={shelf}
              problem={problems[schema.name]}
              chosen={chosen?.key ?? null}
              onChoose={setChosenKey}
              onSample={schema.name === "video_urls" && !videos.length ? () => useSample(schema.name) : null}
            />
          ))}
          {chosen ? (
            <Player
              item={chosen}
              player={player}
              start={String(values["start"] ?? "")}
              end={String(values["end"] ?? "")}
              onCut={(cut) => {
                if (cut.start !== undefined) set("start", cut.start);
                if (cut.end !== undefined) set("end", cut.end);
              }}
              several={videos.length > 1}
            />
          ) : null}
        </div>
        <div class="words-side">
          {prompts.map(schemaField)}
          {videos.length && parts.player.length ? <div class="row">{parts.player.map(schemaField)}</div> : null}
          <details class="more" open={rest.some((each) => problems[each.name]) || undefined}>
            <summary>More</summary>
            {rest.map(schemaField)}
          </details>
          <div class="bar">
            <Button kind="primary" disabled={!canRun || !columns.some(({ model }) => model)} onClick={runAll}>
              {shelf.isUploading ? "Uploading…" : columns.length === 1 ? "Run it" : `Run all ${columns.length}`}
            </Button>
            <Button kind="danger" disabled={!active.length} onClick={() => active.forEach(({ key }) => stop(key))}>
              Stop all
            </Button>
            <Button disabled={columns.length >= MOST} onClick={() => setColumns((known) => [...known, fresh("")])}>
              Add a model
            </Button>
            <span class="quiet" role="status">
              {progress(columns)}
            </span>
          </div>
          <p class="sum">
            {estimates.length ? (
              <>
                <span class="quiet">Before the run, together:</span> <strong>{sumInWords(estimates)}</strong>
              </>
            ) : null}
          </p>
          <ErrorNote message={[...told.others, catalog.problem].filter(Boolean).join(" ")} />
        </div>
      </section>
      <div class="columns" role="group" aria-label="Models" tabIndex={0}>
        {columns.map((column, index) => (
          <ColumnView
            key={column.key}
            column={column}
            place={[index, columns.length]}
            catalog={catalog.found}
            isOld={column.asked !== null && column.asked !== now}
            canRun={canRun}
            problems={placed(column.run.failure?.problems ?? [], fields).at}
            endpoint={sandbox.endpoint}
            askable={askable}
            onEstimate={(estimate) => change(column.key, { estimate })}
            onModel={(model) => change(column.key, { model })}
            onReceipt={(receipt) => change(column.key, { receipt })}
            onRun={() => run(column)}
            onStop={() => stop(column.key)}
            onMove={(by) => setColumns((known) => moved(known, index, by))}
            onRemove={() => remove(column.key)}
            onSeek={seek}
          />
        ))}
      </div>
      <Comparison columns={columns} />
      <Keeping sandbox={sandbox} input={input} columns={columns} isUploading={shelf.isUploading} onSaved={onSaved} />
    </div>
  );
}

/** What is wrong with the input that all of them were given: told once, at its field. */
function shared(columns: readonly Column[], fields: readonly FieldSchema[]) {
  const all = columns.flatMap(({ run }) => (run.failure?.problems ?? []).filter(({ loc }) => loc?.[1] !== "model"));
  const once = new Map(all.map((problem) => [JSON.stringify([problem.loc, problem.msg]), problem]));
  return { at: placed([...once.values()], fields).at, others: [] as string[] };
}

function progress(columns: readonly Column[]): string {
  const going = columns.filter(({ run }) => isActive(run)).length;
  if (going) return `${going} of ${columns.length} still at it`;
  const ended = columns.filter(({ run }) => run.phase !== "idle");
  const failed = ended.filter(({ run }) => run.phase === "failed").length;
  if (!ended.length) return "";
  return failed ? `${ended.length} ended, ${failed} of them failed` : `${ended.length} ended`;
}

/** Two to begin with, of those that are here and take videos. */
function useFirstModels(
  catalog: Catalog | null,
  columns: readonly Column[],
  setColumns: (columns: readonly Column[]) => void,
): void {
  useEffect(() => {
    if (!catalog || columns.length) return;
    const fitting = catalog.models.filter((model) => fits(model, ["video"]));
    const [first, second] = fitting;
    setColumns([fresh(first?.model ?? ""), fresh(second?.model ?? "")]);
  }, [catalog]);
}
