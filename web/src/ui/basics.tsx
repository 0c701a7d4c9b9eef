// The few parts that every page is made of. Plain elements with the right roles; no inline styles.
import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

export function Button({
  kind = "plain",
  busy = false,
  children,
  ...rest
}: { kind?: "plain" | "primary" | "danger" | "quiet"; busy?: boolean } & ButtonHTMLAttributes) {
  return (
    <button type="button" {...rest} class={`button ${kind} ${rest.class ?? ""}`} aria-busy={busy || undefined} disabled={rest.disabled || busy}>
      {children}
    </button>
  );
}

/** A labelled control: `children` is given the id for it; the hint and the error are read with it. */
export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: ComponentChildren;
  hint?: ComponentChildren;
  error?: string | null | undefined;
  children: (id: string, describedBy: string) => ComponentChildren;
}) {
  const id = useId();
  return (
    <div class={`field ${error ? "wrong" : ""}`}>
      <label for={id}>{label}</label>
      {children(id, `${id}-about`)}
      <div id={`${id}-about`} class="about">
        {error ? <p class="problem">{error}</p> : null}
        {hint ? <p class="hint">{hint}</p> : null}
      </div>
    </div>
  );
}

export function ErrorNote({ message, children }: { message: string | null | undefined; children?: ComponentChildren }) {
  return (
    <div role="alert" class="alert-place">
      {message ? (
        <div class="note bad">
          <p>{message}</p>
          {children}
        </div>
      ) : null}
    </div>
  );
}

export function Spinner({ label }: { label: string }) {
  return (
    <p class="spinner" role="status">
      <span class="dot" aria-hidden="true" />
      {label}
    </p>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Badge({ tone = "neutral", children }: { tone?: "neutral" | "good" | "bad" | "busy" | "warn"; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [said, setSaid] = useState("");
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const place = useRef<HTMLSpanElement>(null);
  const copy = async () => {
    setSaid((await copied(text, place.current)) ? "Copied" : "Copying is not allowed here");
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setSaid(""), 1500);
  };
  return (
    <Button kind="quiet" class="copy" onClick={copy}>
      <span ref={place} aria-live="polite">
        {said || label}
      </span>
    </Button>
  );
}

/** Whether it was copied; also on plain http, where the clipboard API is not there. `near`: what lies outside
 * of an open dialog can not be chosen. */
async function copied(text: string, near: Element | null): Promise<boolean> {
  if (navigator.clipboard && isSecureContext) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const focused = document.activeElement as HTMLElement | null;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "off-screen";
  (near?.closest("dialog") ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return isDone;
}

/** A row of buttons of which one is chosen. */
export function Choice<T extends string>({
  label,
  options,
  value,
  onChange,
}: {
  label: string;
  options: readonly (readonly [T, ComponentChildren])[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <div class="choice" role="radiogroup" aria-label={label}>
      {options.map(([name, shown]) => (
        <button
          type="button"
          role="radio"
          aria-checked={name === value}
          tabIndex={name === value ? 0 : -1}
          onClick={() => onChange(name)}
          onKeyDown={(event) => {
            const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
            if (!step) return;
            event.preventDefault();
            const index = options.findIndex(([each]) => each === value);
            const next = options[(index + step + options.length) % options.length];
            if (!next) return;
            onChange(next[0]);
            const buttons = event.currentTarget.parentElement?.children;
            (buttons?.[(index + step + options.length) % options.length] as HTMLElement | undefined)?.focus();
          }}
        >
          {shown}
        </button>
      ))}
    </div>
  );
}

/** Tabs with panels; only the chosen panel is in the page. */
export function Tabs({ label, tabs }: { label: string; tabs: readonly { name: string; body: () => ComponentChildren }[] }) {
  const [chosen, setChosen] = useState(0);
  const id = useId();
  const at = Math.min(chosen, tabs.length - 1);
  return (
    <div class="tabs">
      <div role="tablist" aria-label={label}>
        {tabs.map((tab, index) => (
          <button
            type="button"
            role="tab"
            id={`${id}-tab-${index}`}
            aria-selected={index === at}
            aria-controls={`${id}-panel`}
            tabIndex={index === at ? 0 : -1}
            onClick={() => setChosen(index)}
            onKeyDown={(event) => {
              const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
              if (!step) return;
              const next = (at + step + tabs.length) % tabs.length;
              setChosen(next);
              (event.currentTarget.parentElement?.children[next] as HTMLElement | undefined)?.focus();
            }}
          >
            {tab.name}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-tab-${at}`} tabIndex={0}>
        {tabs[at]?.body()}
      </div>
    </div>
  );
}

/** A modal dialog: the browser's own, which keeps the focus inside and closes on Escape. */
export function Dialog({ title, open, onClose, children }: { title: string; open: boolean; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    if (!dialog) return;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    <dialog ref={element} aria-labelledby={id} onClose={onClose}>
      <h2 id={id}>{title}</h2>
      {open ? children : null}
    </dialog>
  );
}
