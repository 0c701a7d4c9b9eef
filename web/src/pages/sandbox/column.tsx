// One model of a sandbox: its call as it is, its answer, and its figures.
import { useEffect } from "preact/hooks";
import { isActive, type Run } from "../../runs";
import { Answer, useFollow } from "../../ui/answer";
import { Badge, Button, Copy, ErrorNote, Field } from "../../ui/basics";
import { count } from "../../ui/format";
import { type Estimate, EstimateBrief, useEstimate } from "../playground/estimate";
import type { Input, Problems } from "../playground/form";
import type { Catalog } from "../playground/models";
import { Chosen, ModelPicker } from "../playground/picker";
import { type Receipt, TimingBar } from "../playground/receipt";
import { Elapsed, Status, remedy, useReceipt } from "../playground/result";
import { type Column, times } from "./columns";
import { costInWords, inSeconds } from "./compare";

type Props = {
  column: Column;
  place: [index: number, of: number];
  catalog: Catalog | null;
  isOld: boolean;
  canRun: boolean;
  problems: Problems;
  endpoint: string;
  /** What all are asked, once there is enough of it for an estimate. */
  askable: Input | null;
  onModel: (model: string) => void;
  onEstimate: (estimate: Estimate | null) => void;
  onReceipt: (receipt: Receipt | null) => void;
  onRun: () => void;
  onStop: () => void;
  onMove: (by: -1 | 1) => void;
  onRemove: () => void;
  onSeek: (seconds: number) => void;
};

export function ColumnView(props: Props) {
  const { column, place: [index, of], catalog, isOld, canRun, problems } = props;
  const { run, model } = column;
  const active = isActive(run);
  useLiveReceipt(column, props.onReceipt);
  const estimated = useEstimate(props.endpoint, props.askable && model ? { ...props.askable, model } : null);
  useEffect(() => props.onEstimate(estimated.estimate), [estimated.estimate]);
  const body = useFollow<HTMLDivElement>(active);
  const name = model || `model ${index + 1}`;
  const again = run.phase === "idle" ? "Run" : "Run again";
  return (
    <section class="panel column" aria-label={`Model ${index + 1}: ${model || "not chosen"}`}>
      <Field label={`Model ${index + 1}`} error={problems["model"]} hint={<Chosen value={model} catalog={catalog} estimate={estimated.isAsking ? null : estimated.estimate} />}>
        {(id, describedBy) => (
          <ModelPicker id={id} describedBy={describedBy} value={model} onChange={props.onModel} catalog={catalog} kinds={["video"]} />
        )}
      </Field>
      <div class="bar">
        <Button kind="quiet" aria-label={`${name}: further left`} disabled={index === 0} onClick={() => props.onMove(-1)}>
          ←
        </Button>
        <Button kind="quiet" aria-label={`${name}: further right`} disabled={index === of - 1} onClick={() => props.onMove(1)}>
          →
        </Button>
        <Button kind="quiet" aria-label={`Remove ${name}`} disabled={of === 1 || active} onClick={props.onRemove}>
          ✕
        </Button>
        {active ? (
          <Button kind="danger" aria-label={`Stop ${name}`} onClick={props.onStop}>
            Stop
          </Button>
        ) : (
          <Button aria-label={`${again} ${name}`} disabled={!canRun || !model} onClick={props.onRun}>
            {again}
          </Button>
        )}
      </div>
      <EstimateBrief state={estimated} />
      <div class="state">
        <Status run={run} isUploading={false} />
        {run.startedAt ? <Elapsed run={run} /> : null}
        {isOld && !active ? <Badge tone="warn">of an earlier input</Badge> : null}
        {run.text && !active ? <Copy text={run.text} /> : null}
      </div>
      <div class="answer" ref={body} tabIndex={0} role="region" aria-label={`Answer of ${name}`}>
        {run.failure ? (
          <ErrorNote message={run.failure.message}>
            <p>{remedy(run.failure)}</p>
          </ErrorNote>
        ) : null}
        {run.text ? <Answer text={run.text} isComing={active} onSeek={props.onSeek} /> : <Silence run={run} />}
      </div>
      <Figures column={column} />
    </section>
  );
}

/** The receipt of a call of this page; what was opened has its own already. */
function useLiveReceipt({ run, receipt }: Column, onReceipt: Props["onReceipt"]): void {
  const found = useReceipt(run);
  useEffect(() => {
    if (found && found.request_id !== receipt?.request_id) onReceipt(found);
  }, [found]);
}

function Silence({ run }: { run: Run }) {
  if (run.phase === "failed") return null;
  const said: Partial<Record<Run["phase"], string>> = {
    idle: "The answer comes here.",
    done: "The model answered without a word.",
    cancelled: "Stopped before the first word.",
  };
  return <p class="quiet">{said[run.phase] ?? "Waiting for the first word…"}</p>;
}

function Figures({ column }: { column: Column }) {
  const { usage } = column.run;
  const { first, total } = times(column);
  const figures: [string, string][] = [
    ["Cost", costInWords(column)],
    ["First text", inSeconds(first)],
    ["In all", inSeconds(total)],
    ["Tokens", usage?.prompt_tokens === undefined ? "" : `${count(usage.prompt_tokens)} in, ${count(usage.completion_tokens ?? 0)} out`],
  ];
  return (
    <div class="figures">
      <dl>
        {figures.map(([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value || "–"}</dd>
          </div>
        ))}
      </dl>
      {column.receipt ? <TimingBar seconds={column.receipt.seconds} /> : null}
      {column.run.requestId && !column.isForeign && !isActive(column.run) ? (
        <p>
          <a href={`/ui/requests/${column.run.requestId}`}>The request</a>
        </p>
      ) : null}
    </div>
  );
}
