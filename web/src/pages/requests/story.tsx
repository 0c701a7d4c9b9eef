// One request with everything about it, live while it has not ended.
import { useState } from "preact/hooks";
import { del, post } from "../../api";
import { API, type Bill, type Delivery, isOver, type Story, TONES, took } from "../../console";
import { go } from "../../router";
import { Answer } from "../../ui/answer";
import { Badge, Button, Copy, Empty, ErrorNote, Spinner, Tabs } from "../../ui/basics";
import { Confirm } from "../../ui/confirm";
import { add } from "../../ui/decimal";
import { count, money, span, when } from "../../ui/format";
import { useLoad, usePolling } from "../../ui/loading";
import { COST_SOURCES, type Receipt, ReceiptView, TimingBar } from "../playground/receipt";
import { DeliveryTable } from "../webhooks/table";

const POLL_MS = 1500;

export function StoryView({ id, back }: { id: string; back: string }) {
  const { data: story, problem, reload } = useLoad<Story>(`${API}/requests/${encodeURIComponent(id)}`);
  usePolling(reload, POLL_MS, story !== null && !isOver(story.state));
  return (
    <article class="story">
      <p>
        <a href={back}>← All requests</a>
      </p>
      <ErrorNote message={problem}>
        <Button onClick={() => void reload()}>Try again</Button>
      </ErrorNote>
      {story ? <Told story={story} reload={reload} /> : problem ? null : <Spinner label="Reading the request" />}
    </article>
  );
}

function Told({ story, reload }: { story: Story; reload: () => Promise<void> }) {
  const tabs = [
    { name: "Answer", body: () => <AnswerTab story={story} /> },
    { name: "Input", body: () => <Json value={story.input} none="The input is not kept (any more)." /> },
    { name: "Receipt", body: () => <ReceiptTab story={story} /> },
    { name: `Log (${story.logs.length})`, body: () => <LogTab story={story} /> },
    { name: `Attempts (${story.attempts.length})`, body: () => <AttemptsTab story={story} /> },
    { name: "Webhooks", body: () => <DeliveriesTab id={story.request_id} /> },
  ];
  return (
    <>
      <div class="title">
        <h1>{story.model || story.endpoint}</h1>
        <span role="status">
          <Badge tone={TONES[story.state]}>{story.state}</Badge>
        </span>
      </div>
      <p class="id">
        <code>{story.request_id}</code> <Copy text={story.request_id} label="Copy the id" />
      </p>
      <Actions story={story} reload={reload} />
      <Facts story={story} />
      <div class="panel">
        <Tabs label="About this request" tabs={tabs} />
      </div>
    </>
  );
}

// ---------------------------------------------------------------- what can be done

function Actions({ story, reload }: { story: Story; reload: () => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [isAsking, setAsking] = useState(false);
  const path = `${API}/requests/${story.request_id}`;
  const attempt = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setBusy(false);
    }
  };
  const replay = () => attempt(async () => go(`/ui/requests/${(await post<{ request_id: string }>(`${path}/replay`)).request_id}`));
  const cancel = () => attempt(() => post(`${path}/cancel`).then(reload));
  const hasPayload = story.input !== null || story.result_body !== null || story.receipt !== null || story.logs.length > 0;
  return (
    <>
      <div class="actions">
        <Button busy={busy} disabled={story.input === null} onClick={() => void replay()}>
          Replay
        </Button>
        {story.input === null ? null : (
          <a class="button" href={`/ui/playground?request=${story.request_id}`}>
            Open in the Playground
          </a>
        )}
        {isOver(story.state) ? (
          <Button kind="danger" disabled={!hasPayload} onClick={() => setAsking(true)}>
            Delete payload
          </Button>
        ) : (
          <Button kind="danger" busy={busy} onClick={() => void cancel()}>
            Cancel
          </Button>
        )}
      </div>
      <ErrorNote message={problem} />
      <Confirm
        title="Delete what was said?"
        action="Delete payload"
        open={isAsking}
        onClose={() => setAsking(false)}
        onYes={async () => {
          await del(`${path}/payload`);
          await reload();
        }}
      >
        <p>
          Input, answer, receipt and log of this request go from the disk, for good. When it came, how it went and what it cost stays; so do
          uploaded files.
        </p>
      </Confirm>
    </>
  );
}

// ---------------------------------------------------------------- what is known

function Facts({ story }: { story: Story }) {
  const waited = took(story.created_at, story.started_at);
  const ran = story.started_at === null ? null : took(story.started_at, story.finished_at);
  const receipt = story.receipt as Receipt | null;
  return (
    <section class="panel" aria-label="At a glance">
      {story.error ? (
        <div class="note bad">
          <p>
            {story.error} {story.error_type ? <code>{story.error_type}</code> : null}
          </p>
        </div>
      ) : null}
      <dl class="tiles">
        <Tile name="Came in">{when(story.created_at)}</Tile>
        <Tile name="How">
          {story.mode} · {story.endpoint}
        </Tile>
        <Tile name="Waited">{waited === null ? "still waits" : span(waited)}</Tile>
        <Tile name="Ran">{story.started_at === null ? "not yet" : ran === null ? "still runs" : span(ran)}</Tile>
        <Tile name="Tokens">{story.usage.length ? count(story.usage.reduce((sum, each) => sum + each.total_tokens, 0)) : "none"}</Tile>
        <Tile name="Cost">{story.usage.length ? costOf(story.usage) : "none"}</Tile>
        <Tile name="Key">
          <code>{story.key_id}</code>
        </Tile>
      </dl>
      {receipt?.seconds ? <TimingBar seconds={receipt.seconds} /> : null}
    </section>
  );
}

function Tile({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function costOf(bills: readonly Bill[]): string {
  const unknown = bills.filter((each) => each.cost === null).length;
  if (unknown === bills.length) return "unknown";
  return money(add(bills.map((each) => each.cost))) + (unknown ? ` and ${unknown} unknown` : "");
}

function AnswerTab({ story }: { story: Story }) {
  if (!isOver(story.state)) return <Spinner label={story.state === "queued" ? "It waits for its turn" : "It runs"} />;
  const body = story.result_body as { output?: unknown } | null;
  if (body === null) return <Empty title="The answer is not kept (any more)" />;
  return (
    <>
      {typeof body.output === "string" && body.output ? <Answer text={body.output} isComing={false} /> : null}
      <details open={typeof body.output !== "string" || !body.output}>
        <summary>As JSON, status {story.result_status}</summary>
        <Json value={body} none="" />
      </details>
    </>
  );
}

function Json({ value, none }: { value: unknown; none: string }) {
  if (value === null || value === undefined) return <Empty title={none} />;
  const text = JSON.stringify(value, null, 2);
  return (
    <div class="json">
      <Copy text={text} />
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

function ReceiptTab({ story }: { story: Story }) {
  if (story.receipt === null) return <Empty title={isOver(story.state) ? "There is no receipt (any more)" : "It comes with the answer"} />;
  return (
    <>
      <ReceiptView receipt={story.receipt as Receipt} />
      <details>
        <summary>As JSON</summary>
        <Json value={story.receipt} none="" />
      </details>
    </>
  );
}

function LogTab({ story }: { story: Story }) {
  if (!story.logs.length) return <Empty title="It said nothing" />;
  return (
    <ol class="log">
      {story.logs.map((line) => (
        <li class={line.level.toLowerCase()}>
          <time dateTime={line.at}>{line.at.slice(11, 23)}</time> {line.level === "INFO" ? "" : `${line.level} `}
          {line.message}
        </li>
      ))}
    </ol>
  );
}

function AttemptsTab({ story }: { story: Story }) {
  if (!story.attempts.length && !story.usage.length) return <Empty title="No attempt has ended yet" />;
  return (
    <>
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Attempts">
        <table>
          <caption>Attempts</caption>
          <thead>
            <tr>
              <th scope="col">Number</th>
              <th scope="col">Began</th>
              <th scope="col">Took</th>
              <th scope="col">Ended as</th>
              <th scope="col">Why</th>
            </tr>
          </thead>
          <tbody>
            {story.attempts.map((each) => (
              <tr>
                <th scope="row">{each.attempt}</th>
                <td>{when(each.started_at)}</td>
                <td>{each.ended_at ? span(took(each.started_at, each.ended_at) ?? 0) : ""}</td>
                <td>{each.ended_as?.replace("_", " ")}</td>
                <td class="long">{each.detail}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Bills">
        <table>
          <caption>Bills: every call to a model that was or may have been charged</caption>
          <thead>
            <tr>
              <th scope="col">Attempt</th>
              <th scope="col">Model</th>
              <th scope="col" class="figure">In</th>
              <th scope="col" class="figure">Out</th>
              <th scope="col" class="figure">Cost</th>
              <th scope="col">Known from</th>
            </tr>
          </thead>
          <tbody>
            {story.usage.map((each) => (
              <tr>
                <th scope="row">{each.attempt}</th>
                <td>
                  {each.provider} · {each.model}
                </td>
                <td class="figure">{count(each.prompt_tokens)}</td>
                <td class="figure">{count(each.completion_tokens)}</td>
                <td class="figure">{money(each.cost)}</td>
                <td>{COST_SOURCES[each.cost_source] ?? each.cost_source}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function DeliveriesTab({ id }: { id: string }) {
  const { data, problem, reload } = useLoad<{ deliveries: Delivery[] }>(`${API}/deliveries?request_id=${id}`);
  if (problem) return <ErrorNote message={problem} />;
  if (!data) return <Spinner label="Reading" />;
  if (!data.deliveries.length) return <Empty title="No webhook was asked for" />;
  return <DeliveryTable deliveries={data.deliveries} onChange={reload} hasRequests={false} />;
}
