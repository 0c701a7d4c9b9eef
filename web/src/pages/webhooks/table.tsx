// Webhooks in a table; each opens to every attempt at it.
import { useState } from "preact/hooks";
import { get, post } from "../../api";
import { API, type Delivery, type DeliveryStory, moment } from "../../console";
import { Badge, Button, ErrorNote, Spinner } from "../../ui/basics";
import { span, when } from "../../ui/format";

const TONES = { waiting: "busy", delivered: "good", dead: "bad" } as const;

type Props = { deliveries: readonly Delivery[]; onChange: () => Promise<void>; hasRequests?: boolean };

export function DeliveryTable({ deliveries, onChange, hasRequests = true }: Props) {
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label="Webhooks">
      <table class="deliveries stacking">
        <thead>
          <tr>
            <th scope="col">State</th>
            <th scope="col">Receiver</th>
            {hasRequests ? <th scope="col">Request</th> : null}
            <th scope="col">Made</th>
            <th scope="col">Last answer</th>
            <th scope="col">
              <span class="off-screen">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {deliveries.map((each) => (
            <OneDelivery key={each.id} delivery={each} onChange={onChange} hasRequests={hasRequests} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function OneDelivery({ delivery, onChange, hasRequests }: { delivery: Delivery; onChange: () => Promise<void>; hasRequests: boolean }) {
  const [isOpen, setOpen] = useState(false);
  const [story, setStory] = useState<DeliveryStory | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem((error as Error).message);
      setOpen(true);
    } finally {
      setBusy(false);
    }
  };
  const open = () => {
    setOpen(!isOpen);
    if (!isOpen) void attempt(async () => setStory(await get<DeliveryStory>(`${API}/deliveries/${delivery.id}`)));
  };
  const replay = () =>
    attempt(async () => {
      await post(`${API}/deliveries/${delivery.id}/replay`);
      await onChange();
    });
  return (
    <>
      <tr>
        <td>
          <Badge tone={TONES[delivery.state]}>{delivery.state === "dead" ? "given up" : delivery.state}</Badge>
        </td>
        <td class="long" data-label="Receiver">{delivery.url}</td>
        {hasRequests ? (
          <td data-label="Request">
            <a href={`/ui/requests/${delivery.request_id}`}>
              <code>{delivery.request_id.slice(0, 8)}</code>
            </a>
          </td>
        ) : null}
        <td class="nowrap" data-label="Made">
          <time dateTime={delivery.created_at}>{moment(delivery.created_at)}</time>
        </td>
        <td data-label="Last answer">
          <div>
            {lastOf(delivery)}
            {delivery.next_at ? <p class="quiet">next {moment(delivery.next_at)}</p> : null}
          </div>
        </td>
        <td class="do">
          <Button kind="quiet" aria-expanded={isOpen} onClick={open}>
            {delivery.attempt === 1 ? "1 attempt" : `${delivery.attempt} attempts`}
          </Button>
          <Button busy={busy} onClick={() => void replay()}>
            Replay
          </Button>
        </td>
      </tr>
      {isOpen ? (
        <tr>
          <td colSpan={hasRequests ? 6 : 5}>
            <ErrorNote message={problem} />
            {story ? <Attempts story={story} /> : problem ? null : <Spinner label="Reading" />}
          </td>
        </tr>
      ) : null}
    </>
  );
}

function lastOf(delivery: Delivery): string {
  if (delivery.attempt === 0) return "not sent yet";
  if (delivery.last_status) return `HTTP ${delivery.last_status}`;
  return delivery.state === "waiting" && !delivery.last_detail ? "under way" : "no answer";
}

function Attempts({ story }: { story: DeliveryStory }) {
  if (!story.attempts.length) return <p class="quiet">Not sent yet.</p>;
  return (
    <table class="inner stacking">
      <caption class="off-screen">Attempts</caption>
      <thead>
        <tr>
          <th scope="col">Attempt</th>
          <th scope="col">At</th>
          <th scope="col">Took</th>
          <th scope="col">Status</th>
          <th scope="col">What came back</th>
        </tr>
      </thead>
      <tbody>
        {story.attempts.map((each) => (
          <tr>
            <th scope="row">{each.attempt}</th>
            <td data-label="At">{when(each.at)}</td>
            <td data-label="Took">{each.seconds === null ? "under way" : span(each.seconds)}</td>
            <td data-label="Status">{each.status ?? "none"}</td>
            <td class="long" data-label="Answer">
              <code>{each.detail}</code>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
