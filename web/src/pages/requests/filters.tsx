// What the list is narrowed to; it stands in the page's address, so a view can be kept and sent on.
import { useEffect, useState } from "preact/hooks";
import { Button, Field } from "../../ui/basics";
import { type Filters, NO_FILTERS } from "./live";

const PAUSE_MS = 300;

const STATES = [
  ["", "Any state"],
  ["active", "Not ended"],
  ["queued", "Queued"],
  ["running", "Running"],
  ["succeeded", "Succeeded"],
  ["failed", "Failed"],
  ["cancelled", "Cancelled"],
] as const;

const MODES = [
  ["", "Any way"],
  ["run", "Run"],
  ["stream", "Stream"],
  ["queue", "Queue"],
] as const;

type Props = { filters: Filters; names: ReadonlyMap<string, string> | null; onChange: (more: Partial<Filters>) => void };

export function FilterBar({ filters, names, onChange }: Props) {
  const rare = (["mode", "endpoint", "model", "key", "from", "to"] as const).filter((name) => filters[name]).length;
  const any = rare > 0 || filters.search !== "" || filters.state !== "";
  const keys = [["", "Any key"], ...[...(names ?? [])].map(([id, alias]) => [id, alias || id.slice(0, 8)] as const)] as const;
  return (
    <div class="filters" role="search" aria-label="Filter the requests">
      <div class="often">
        <Typed label="Search" hint="Id, model or error" value={filters.search} onChange={(search) => onChange({ search })} />
        <Select label="State" options={STATES} value={filters.state} onChange={(state) => onChange({ state })} />
        <Button kind="quiet" disabled={!any} onClick={() => onChange(NO_FILTERS)}>
          Clear
        </Button>
      </div>
      <details open={rare > 0}>
        <summary>More filters{rare ? ` (${rare})` : ""}</summary>
        <div class="rare">
          <Select label="Mode" options={MODES} value={filters.mode} onChange={(mode) => onChange({ mode })} />
          <Typed label="Endpoint" value={filters.endpoint} onChange={(endpoint) => onChange({ endpoint })} />
          <Typed label="Model" value={filters.model} onChange={(model) => onChange({ model })} />
          {names ? <Select label="Key" options={keys} value={filters.key} onChange={(key) => onChange({ key })} /> : null}
          <Day label="From" value={filters.from} onChange={(from) => onChange({ from })} />
          <Day label="To" value={filters.to} onChange={(to) => onChange({ to })} />
        </div>
      </details>
    </div>
  );
}

type One = { label: string; value: string; onChange: (value: string) => void };

/** Takes effect when the writer pauses. */
function Typed({ label, hint, value, onChange }: One & { hint?: string }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text.trim()), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <Field label={label}>
      {(id) => <input id={id} type="search" value={text} placeholder={hint} onInput={(event) => setText(event.currentTarget.value)} />}
    </Field>
  );
}

function Select({ label, options, value, onChange }: One & { options: readonly (readonly [string, string])[] }) {
  return (
    <Field label={label}>
      {(id) => (
        <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          {options.map(([name, shown]) => (
            <option value={name}>{shown}</option>
          ))}
        </select>
      )}
    </Field>
  );
}

function Day({ label, value, onChange }: One) {
  return (
    <Field label={label}>
      {(id) => <input id={id} type="date" value={value} onChange={(event) => onChange(event.currentTarget.value)} />}
    </Field>
  );
}
