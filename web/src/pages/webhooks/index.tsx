// Every webhook and what became of it; those that were given up come first to the eye.
import { useState } from "preact/hooks";
import { post } from "../../api";
import { API, type Delivery } from "../../console";
import { Button, Choice, Empty, ErrorNote, Spinner } from "../../ui/basics";
import { count } from "../../ui/format";
import { usePages } from "../../ui/loading";
import { DeliveryTable } from "./table";

const STATES = [
  ["", "All"],
  ["waiting", "Waiting"],
  ["delivered", "Delivered"],
  ["dead", "Given up"],
] as const;

type Shown = (typeof STATES)[number][0];

export default function Webhooks() {
  const [state, setState] = useState<Shown>("");
  const list = usePages<"deliveries", Delivery>(`${API}/deliveries?limit=50${state ? `&state=${state}` : ""}`, "deliveries");
  const dead = usePages<"deliveries", Delivery>(`${API}/deliveries?limit=200&state=dead`, "deliveries");
  const reload = async () => {
    await Promise.all([list.reload(), dead.reload()]);
  };
  return (
    <>
      <div class="title">
        <h1>Webhooks</h1>
        <Button onClick={() => void reload()}>Look again</Button>
      </div>
      <Dead deliveries={dead.rows ?? []} hasMore={dead.hasMore} onShow={() => setState("dead")} onChange={reload} />
      <p>
        <Choice label="Which webhooks" options={STATES} value={state} onChange={setState} />
      </p>
      <ErrorNote message={list.problem} />
      {list.rows === null ? list.problem ? null : <Spinner label="Reading" /> : <List {...list} rows={list.rows} state={state} onChange={reload} />}
    </>
  );
}

type ListProps = { rows: Delivery[]; hasMore: boolean; busy: boolean; more: () => Promise<void>; state: Shown; onChange: () => Promise<void> };

function List({ rows, hasMore, busy, more, state, onChange }: ListProps) {
  if (!rows.length) {
    return state ? (
      <Empty title="None is in this state" />
    ) : (
      <Empty title="No webhooks yet">
        <p>
          A queued request that names <code>fal_webhook</code> is told of when it ends.
        </p>
      </Empty>
    );
  }
  return (
    <>
      <div class="panel">
        <DeliveryTable deliveries={rows} onChange={onChange} />
      </div>
      {hasMore ? (
        <p class="after">
          <Button busy={busy} onClick={() => void more()}>
            More
          </Button>
        </p>
      ) : null}
    </>
  );
}

type DeadProps = { deliveries: Delivery[]; hasMore: boolean; onShow: () => void; onChange: () => Promise<void> };

function Dead({ deliveries, hasMore, onShow, onChange }: DeadProps) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const again = async () => {
    setBusy(true);
    setProblem(null);
    try {
      for (const each of deliveries) await post(`${API}/deliveries/${each.id}/replay`);
    } catch (error) {
      setProblem((error as Error).message);
    }
    await onChange();
    setBusy(false);
  };
  if (!deliveries.length) return <ErrorNote message={problem} />;
  return (
    <div class="note warn">
      <p>
        {count(deliveries.length)}
        {hasMore ? " or more" : ""} {deliveries.length === 1 ? "webhook was" : "webhooks were"} given up: the receiver did not take{" "}
        {deliveries.length === 1 ? "it" : "them"} in any of the attempts.
      </p>
      <div class="actions">
        <Button onClick={onShow}>Show them</Button>
        <Button busy={busy} onClick={() => void again()}>
          Replay {deliveries.length === 1 ? "it" : "all of these"}
        </Button>
      </div>
      <ErrorNote message={problem} />
    </div>
  );
}
