// A new key, or other limits for one: the same form.
import { useState } from "preact/hooks";
import { ApiError, patch, post } from "../../api";
import { API, type Key } from "../../console";
import { Button, ErrorNote, Field } from "../../ui/basics";

export type NewKey = { key_id: string; key: string };

const SCOPES = [
  ["API", "API: call models and handle files"],
  ["CALL", "CALL: call models alone"],
  ["FILES", "FILES: handle files alone"],
  ["ADMIN", "ADMIN: everything, these pages with all keys' requests too"],
] as const;

type Values = { alias: string; models: string; per_minute: string; running: string; budget: string; budget_per: string; expires_at: string };

/** What the server takes; an empty field is no limit. */
export function body(values: Values): Record<string, unknown> {
  return {
    alias: values.alias.trim(),
    models: values.models.split(/[\s,]+/).filter(Boolean),
    per_minute: whole(values.per_minute),
    running: whole(values.running),
    budget: values.budget.trim() || null,
    budget_per: values.budget_per,
    expires_at: values.expires_at ? new Date(values.expires_at).toISOString() : null,
  };
}

const whole = (text: string): number | null => (text.trim() ? Number(text) : null);

function valuesOf(key: Key | null): Values {
  return {
    alias: key?.alias ?? "",
    models: key?.models.join("\n") ?? "",
    per_minute: key?.per_minute?.toString() ?? "",
    running: key?.running?.toString() ?? "",
    budget: key?.budget ?? "",
    budget_per: key?.budget_per ?? "month",
    expires_at: key?.expires_at ? localTime(key.expires_at) : "",
  };
}

/** As a field for dates and times has it: here, to the minute. */
function localTime(iso: string): string {
  const time = new Date(iso);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

type Props = { old: Key | null; onClose: () => void; onDone: (made: NewKey | null) => Promise<void> };

export function KeyForm({ old, onClose, onDone }: Props) {
  const [values, setValues] = useState(() => valuesOf(old));
  const [scopes, setScopes] = useState<string[]>(["API"]);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiError | Error | null>(null);
  const set = (name: keyof Values) => (event: { currentTarget: { value: string } }) =>
    setValues((all) => ({ ...all, [name]: event.currentTarget.value }));
  const problems = failure instanceof ApiError ? failure.problems : [];
  const wrong = (name: string) => problems.find((each) => each.loc?.includes(name))?.msg;
  const send = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      if (old) {
        await patch(`${API}/keys/${old.key_id}`, changes(body(values), body(valuesOf(old))));
        await onDone(null);
      } else await onDone(await post<NewKey>(`${API}/keys`, { ...body(values), scopes }));
    } catch (error) {
      setFailure(error as Error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form onSubmit={(event) => void send(event)}>
      <Field label="Name" error={wrong("alias")}>
        {(id, about) => <input id={id} aria-describedby={about} value={values.alias} maxLength={255} onInput={set("alias")} />}
      </Field>
      {old ? null : <Scopes chosen={scopes} onChange={setScopes} />}
      <div class="pair">
        <Field label="Budget, US dollars" hint="Empty: no limit" error={wrong("budget")}>
          {(id, about) => (
            <input id={id} aria-describedby={about} inputMode="decimal" pattern="\d+(\.\d{1,12})?" value={values.budget} onInput={set("budget")} />
          )}
        </Field>
        <Field label="Per" hint="Days and months of UTC">
          {(id, about) => (
            <select id={id} aria-describedby={about} value={values.budget_per} onChange={set("budget_per")}>
              <option value="day">Day</option>
              <option value="month">Month</option>
              <option value="total">In all</option>
            </select>
          )}
        </Field>
      </div>
      <div class="pair">
        <Field label="Calls a minute" error={wrong("per_minute")}>
          {(id, about) => <input id={id} aria-describedby={about} type="number" min={1} max={1_000_000} value={values.per_minute} onInput={set("per_minute")} />}
        </Field>
        <Field label="Requests at once" error={wrong("running")}>
          {(id, about) => <input id={id} aria-describedby={about} type="number" min={1} max={1_000_000} value={values.running} onInput={set("running")} />}
        </Field>
      </div>
      <Field label="Models" hint="One a line; one that ends in * is a beginning. Empty: all" error={wrong("models")}>
        {(id, about) => <textarea id={id} aria-describedby={about} rows={3} value={values.models} onInput={set("models")} />}
      </Field>
      <Field label="Expires" hint="Empty: never" error={wrong("expires_at")}>
        {(id, about) => <input id={id} aria-describedby={about} type="datetime-local" value={values.expires_at} onInput={set("expires_at")} />}
      </Field>
      <ErrorNote message={failure?.message} />
      <div class="actions">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="primary" type="submit" busy={busy} disabled={!old && !scopes.length}>
          {old ? "Change" : "Create"}
        </Button>
      </div>
    </form>
  );
}

/** What is other than before: an end that was to the second stays as it was. */
export function changes(now: Record<string, unknown>, before: Record<string, unknown>): Record<string, unknown> {
  const isOther = ([name, value]: [string, unknown]) => JSON.stringify(value) !== JSON.stringify(before[name]);
  return Object.fromEntries(Object.entries(now).filter(isOther));
}

function Scopes({ chosen, onChange }: { chosen: string[]; onChange: (scopes: string[]) => void }) {
  return (
    <fieldset>
      <legend>It may</legend>
      {SCOPES.map(([name, says]) => (
        <label class="check">
          <input
            type="checkbox"
            checked={chosen.includes(name)}
            onChange={(event) => onChange(event.currentTarget.checked ? [...chosen, name] : chosen.filter((each) => each !== name))}
          />
          {says}
        </label>
      ))}
    </fieldset>
  );
}
