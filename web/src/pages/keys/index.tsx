// Who may call, how much of it, and who changed what.
import { useState } from "preact/hooks";
import { del } from "../../api";
import { API, type Key, moment } from "../../console";
import { isAdmin, useSession } from "../../session";
import { Badge, Button, Copy, Dialog, Empty, ErrorNote, Spinner } from "../../ui/basics";
import { Confirm } from "../../ui/confirm";
import { share } from "../../ui/decimal";
import { count, money } from "../../ui/format";
import { type Loaded, useLoad, usePages } from "../../ui/loading";
import { KeyForm, type NewKey } from "./form";

const PER = { day: "a day", month: "a month", total: "in all" } as const;

type Keys = { keys: Key[] };

export default function KeysPage() {
  if (!isAdmin(useSession())) {
    return (
      <Empty title="Keys are for administrators">
        <p>
          Sign in with a key that has the scope <code>ADMIN</code> to see and change them. One is made on the machine of the
          server: <code>telecine keys create --scope ADMIN</code>
        </p>
      </Empty>
    );
  }
  return <Administered />;
}

function Administered() {
  const keys = useLoad<Keys>(`${API}/keys`);
  const [round, setRound] = useState(0);
  const changed = async () => {
    setRound((old) => old + 1);
    await keys.reload();
  };
  return (
    <>
      <KeyList keys={keys} onChange={changed} />
      <Audit key={round} names={new Map(keys.data?.keys.map((each) => [each.key_id, each.alias]))} />
    </>
  );
}

type Asked = { what: "create" } | { what: "change" | "revoke"; key: Key };

function KeyList({ keys, onChange }: { keys: Loaded<Keys>; onChange: () => Promise<void> }) {
  const [asked, setAsked] = useState<Asked | null>(null);
  const [made, setMade] = useState<NewKey | null>(null);
  const [isAll, setAll] = useState(false);
  const close = () => setAsked(null);
  const all = keys.data?.keys ?? [];
  const shown = all.filter((key) => isAll || !key.revoked_at);
  return (
    <section aria-labelledby="keys">
      <div class="title">
        <h1 id="keys">Keys</h1>
        <Button kind="primary" onClick={() => setAsked({ what: "create" })}>
          New key
        </Button>
      </div>
      <ErrorNote message={keys.problem} />
      {keys.data === null ? keys.problem ? null : <Spinner label="Reading" /> : <Table rows={shown} onAsk={setAsked} />}
      {all.some((key) => key.revoked_at) ? (
        <p class="after">
          <label>
            <input type="checkbox" checked={isAll} onChange={(event) => setAll(event.currentTarget.checked)} /> Revoked ones too
          </label>
        </p>
      ) : null}
      <Dialog title={asked?.what === "change" ? "Change the key" : "New key"} open={asked !== null && asked.what !== "revoke"} onClose={close}>
        <KeyForm
          old={asked?.what === "change" ? asked.key : null}
          onClose={close}
          onDone={async (key) => {
            close();
            setMade(key);
            await onChange();
          }}
        />
      </Dialog>
      <Dialog title="The new key" open={made !== null} onClose={() => setMade(null)}>
        <p>This is the only time that it is shown. Keep it somewhere safe.</p>
        <pre tabIndex={0} class="secret">
          {made?.key}
        </pre>
        <div class="actions">
          <Copy text={made?.key ?? ""} label="Copy the key" />
          <Button kind="primary" onClick={() => setMade(null)}>
            I have it
          </Button>
        </div>
      </Dialog>
      <Confirm
        title="Revoke this key?"
        action="Revoke"
        open={asked?.what === "revoke"}
        onClose={close}
        onYes={async () => {
          if (asked?.what === "revoke") await del(`${API}/keys/${asked.key.key_id}`);
          await onChange();
        }}
      >
        <p>
          <strong>{asked?.what === "revoke" ? nameOf(asked.key) : ""}</strong>, and every token and sign-in made from it, is refused from then on. Its
          requests stay.
        </p>
      </Confirm>
    </section>
  );
}

const nameOf = (key: Key): string => key.alias || key.key_id.slice(0, 8);

function Table({ rows, onAsk }: { rows: Key[]; onAsk: (asked: Asked) => void }) {
  const own = useSession().key_id;
  return (
    <div class="panel">
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Table of keys">
        <table class="stacking">
          <thead>
            <tr>
              <th scope="col">Key</th>
              <th scope="col">Scopes</th>
              <th scope="col">Spent</th>
              <th scope="col">Limits</th>
              <th scope="col">Last used</th>
              <th scope="col">
                <span class="off-screen">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((key) => (
              <tr key={key.key_id}>
                <th scope="row">
                  {key.alias || <span class="quiet">no name</span>} {key.key_id === own ? <Badge tone="busy">this one</Badge> : null}{" "}
                  {key.revoked_at ? <Badge tone="bad">revoked</Badge> : isExpired(key) ? <Badge tone="warn">expired</Badge> : null}
                  <p class="quiet">
                    <code>{key.key_id}</code>
                  </p>
                </th>
                <td data-label="Scopes">{key.scopes.join(", ")}</td>
                <td data-label="Spent">
                  <Budget of={key} />
                </td>
                <td data-label="Limits">
                  <Limits of={key} />
                </td>
                <td data-label="Last used" class="nowrap">
                  {key.last_used_at ? moment(key.last_used_at) : "never"}
                </td>
                <td class="do">
                  {key.revoked_at ? null : (
                    <>
                      <Button kind="quiet" onClick={() => onAsk({ what: "change", key })} aria-label={`Change ${nameOf(key)}`}>
                        Change
                      </Button>
                      <Button kind="quiet" disabled={key.key_id === own} onClick={() => onAsk({ what: "revoke", key })} aria-label={`Revoke ${nameOf(key)}`}>
                        Revoke
                      </Button>
                    </>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

const isExpired = (key: Key): boolean => key.expires_at !== null && Date.parse(key.expires_at) <= Date.now();

function Budget({ of: key }: { of: Key }) {
  if (key.budget === null) {
    return (
      <span>
        {money(key.spent)} <span class="quiet">this month</span>
      </span>
    );
  }
  const part = share(key.spent, key.budget);
  return (
    <div class="budget">
      <span>
        {money(key.spent)} of {money(key.budget)} {PER[key.budget_per]}
      </span>
      <svg class={part >= 1 ? "full" : part >= 0.8 ? "nearly" : ""} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="all" width="100" height="6" />
        <rect class="part" width={part * 100} height="6" />
      </svg>
    </div>
  );
}

function Limits({ of: key }: { of: Key }) {
  const said = [
    key.per_minute === null ? "" : `${count(key.per_minute)} calls a minute`,
    key.running === null ? "" : `${count(key.running)} at once`,
    key.expires_at && !isExpired(key) ? `until ${moment(key.expires_at)}` : "",
    key.models.length ? key.models.join(", ") : "",
  ].filter(Boolean);
  return said.length ? <span class="long">{said.join(" · ")}</span> : <span class="quiet">none</span>;
}

// ---------------------------------------------------------------- who changed what

type Entry = { at: string; actor: string; action: string; subject: string; detail: Record<string, unknown> };

function Audit({ names }: { names: ReadonlyMap<string, string> }) {
  const list = usePages<"entries", Entry>(`${API}/audit`, "entries");
  const nameOf = (id: string) => names.get(id) || (id.length === 36 ? id.slice(0, 8) : id);
  return (
    <section class="audit" aria-labelledby="audit">
      <h2 id="audit">Who changed what</h2>
      <ErrorNote message={list.problem} />
      {list.rows === null && !list.problem ? <Spinner label="Reading" /> : null}
      {list.rows?.length === 0 ? <p class="quiet">Nothing yet.</p> : null}
      {list.rows?.length ? (
        <div class="panel">
          <div class="scroll-x" tabIndex={0} role="region" aria-label="Audit log">
            <table class="stacking">
              <thead>
                <tr>
                  <th scope="col">When</th>
                  <th scope="col">Who</th>
                  <th scope="col">Did</th>
                  <th scope="col">To</th>
                  <th scope="col">More</th>
                </tr>
              </thead>
              <tbody>
                {list.rows.map((each) => (
                  <tr>
                    <td class="nowrap">{moment(each.at)}</td>
                    <td data-label="Who">{nameOf(each.actor)}</td>
                    <td data-label="Did">{each.action}</td>
                    <td data-label="To">{each.subject ? <code>{nameOf(each.subject)}</code> : null}</td>
                    <td data-label="More" class="long quiet">
                      {inWords(each.detail)}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      ) : null}
      {list.hasMore ? (
        <p class="after">
          <Button busy={list.busy} onClick={() => void list.more()}>
            More
          </Button>
        </p>
      ) : null}
    </section>
  );
}

function inWords(detail: Record<string, unknown>): string {
  return Object.entries(detail)
    .filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length))
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${Array.isArray(value) ? value.join(", ") : String(value)}`)
    .join(" · ");
}
