// One field of the form, as its schema says.
import { Field } from "../../ui/basics";
import type { FieldSchema } from "../../schema";
import { EFFORTS } from "./form";

type Props = {
  field: FieldSchema;
  value: string | boolean | undefined;
  problem: string | undefined;
  onChange: (value: string | boolean) => void;
  /** When typing has come to a rest: the field was left. */
  onSettled?: () => void;
};

export function SchemaField({ field, value, problem, onChange, onSettled }: Props) {
  const label = named(field);
  if (field.kind === "boolean" && field.default === false && field.name !== "reasoning") {
    return <Switch field={field} value={value} problem={problem} onChange={onChange} />;
  }
  return (
    <Field label={<span title={hint(field).replaceAll("`", "")}>{label}</span>} hint={<Hint text={hint(field)} />} error={problem}>
      {(id, describedBy) => {
        const shared = {
          id,
          "aria-describedby": describedBy,
          "aria-invalid": problem ? true : undefined,
          name: field.name,
          value: value === undefined ? "" : String(value),
          onChange: onSettled,
        };
        const onInput = (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value);
        const options = choices(field);
        if (options) {
          return (
            <select {...shared} onInput={onInput}>
              {options.map(([each, shown]) => (
                <option value={each}>{shown}</option>
              ))}
            </select>
          );
        }
        if (["long", "list", "json"].includes(field.kind)) {
          return (
            <textarea
              {...shared}
              onInput={onInput}
              rows={field.name === "prompt" ? 4 : 2}
              required={field.required}
              spellcheck={field.kind === "long"}
              class={field.kind === "json" ? "code" : ""}
              placeholder={field.kind === "json" ? "{ }" : field.kind === "list" ? "one in a line" : undefined}
            />
          );
        }
        return (
          <input
            {...shared}
            onInput={onInput}
            type="text"
            inputMode={field.kind === "integer" ? "numeric" : field.kind === "number" ? "decimal" : "text"}
            autocomplete="off"
            placeholder={field.default === null ? undefined : String(field.default)}
          />
        );
      }}
    </Field>
  );
}

function Switch({ field, value, problem, onChange }: Omit<Props, "onSettled">) {
  const id = `switch-${field.name}`;
  return (
    <div class={`field switch ${problem ? "wrong" : ""}`}>
      <label for={id}>
        <input
          id={id}
          type="checkbox"
          name={field.name}
          checked={value === true || value === "true"}
          aria-describedby={`${id}-about`}
          onInput={(event) => onChange(event.currentTarget.checked)}
        />
        {named(field)}
      </label>
      <div id={`${id}-about`} class="about">
        {problem ? <p class="problem">{problem}</p> : null}
        <p class="hint">
          <Hint text={hint(field)} />
        </p>
      </div>
    </div>
  );
}

/** For what is chosen from a few; undefined: it is typed. */
function choices(field: FieldSchema): [value: string, shown: string][] | undefined {
  if (field.name === "reasoning") {
    return [["", "not shown"], ["true", "shown"], ...EFFORTS.map((effort): [string, string] => [effort, `effort: ${effort}`])];
  }
  if (field.kind === "choice") {
    return [["", field.default === null ? "not set" : String(field.default)], ...field.choices.map((each): [string, string] => [each, each])];
  }
  if (field.kind === "boolean") return [["", "not set"], ["true", "yes"], ["false", "no"]];
  return undefined;
}

/** video_urls: "Video urls"; short words as people write them. */
export function named(field: FieldSchema): string {
  const words = field.name.replaceAll("_", " ");
  const shown: Record<string, string> = { fps: "Frames / s", max_tokens: "Most tokens", max_frames: "Most frames", models: "Fallback models" };
  return shown[field.name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** What stands between backticks is code. */
function Hint({ text }: { text: string }) {
  return <>{text.split("`").map((part, index) => (index % 2 ? <code>{part}</code> : part))}</>;
}

function hint(field: FieldSchema): string {
  const { minimum, maximum, kind } = field;
  if (kind !== "number" && kind !== "integer") return field.description;
  const isTold = (limit: number | null) => limit !== null && Math.abs(limit) < 1e6;
  const limits =
    isTold(minimum) && isTold(maximum) ? ` ${minimum} to ${maximum}.` : isTold(maximum) ? ` At most ${maximum}.` : "";
  return field.description + limits;
}
