// The model: a text with suggestions, as aliases and names that no list has may be asked for too.
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { Badge } from "../../ui/basics";
import type { Estimate } from "./estimate";
import type { MediaKind } from "./form";
import { type Catalog, type Model, context, fits, forms, priceInWords, search, sourceInWords } from "./models";

const MOST_SHOWN = 60;

type Props = {
  id: string;
  describedBy: string;
  value: string;
  onChange: (model: string) => void;
  catalog: Catalog | null;
  kinds: readonly MediaKind[];
};

export function ModelPicker({ id, describedBy, value, onChange, catalog, kinds }: Props) {
  const list = useId();
  const [isOpen, setOpen] = useState(false);
  const [typed, setTyped] = useState<string | null>(null);
  const [at, setAt] = useState(-1);
  const place = useRef<HTMLDivElement>(null);
  const found = useMemo(() => suggestions(catalog, kinds, typed ?? ""), [catalog, kinds, typed]);
  const shown = found.slice(0, MOST_SHOWN);
  useEffect(() => {
    place.current?.querySelector(`[data-at="${at}"]`)?.scrollIntoView({ block: "nearest" });
  }, [at]);

  const open = () => {
    setOpen(true);
    setTyped(null);
    setAt(-1);
  };
  const close = () => {
    setOpen(false);
    setTyped(null);
    setAt(-1);
  };
  const choose = (model: string) => {
    onChange(model);
    close();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!isOpen) open();
      else if (shown.length) setAt((at + step + shown.length) % shown.length);
    } else if (event.key === "Enter" && isOpen && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const chosen = shown[at];
      if (chosen) choose(chosen.model);
      else close();
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      close();
    }
  };
  return (
    <div class="picker" ref={place}>
      <input
        id={id}
        aria-describedby={describedBy}
        role="combobox"
        aria-expanded={isOpen && shown.length > 0}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={isOpen && at >= 0 ? `${list}-${at}` : undefined}
        autocomplete="off"
        spellcheck={false}
        value={value}
        placeholder="provider/model, or an alias"
        onFocus={(event) => {
          event.currentTarget.select();
          open();
        }}
        onClick={() => isOpen || open()}
        onBlur={close}
        onInput={(event) => {
          setOpen(true);
          setTyped(event.currentTarget.value);
          setAt(-1);
          onChange(event.currentTarget.value);
        }}
        onKeyDown={onKeyDown}
      />
      <div id={list} role="listbox" aria-label="Models" class="models" hidden={!isOpen || !shown.length}>
        {isOpen
          ? shown.map((model, index) => (
              <div
                key={model.model}
                id={`${list}-${index}`}
                data-at={index}
                role="option"
                aria-selected={index === at}
                class={model.model === value ? "is-chosen" : ""}
                // The input keeps the focus: a press must not blur it before the click is there.
                onMouseDown={(event) => event.preventDefault()}
                onClick={() => choose(model.model)}
              >
                <Described model={model} />
              </div>
            ))
          : null}
        {found.length > shown.length ? (
          <div role="option" aria-disabled="true" aria-selected="false" class="quiet">
            {found.length - shown.length} more: type to find them
          </div>
        ) : null}
      </div>
      {isOpen && typed && catalog && !shown.length ? (
        <p class="models none" role="status">
          No model of the list is like that. The name is asked for as it stands.
        </p>
      ) : null}
    </div>
  );
}

function suggestions(catalog: Catalog | null, kinds: readonly MediaKind[], text: string): Model[] {
  if (!catalog) return [];
  return search(
    catalog.models.filter((model) => fits(model, kinds)),
    text,
  );
}

function Described({ model }: { model: Model }) {
  return (
    <>
      <span class="name">{model.model}</span>
      <span class="facts">
        <Facts model={model} />
      </span>
    </>
  );
}

/** What a model takes and costs, in one line. */
export function Facts({ model }: { model: Model }) {
  const { takes, price_per_token: price } = model;
  const how = forms(takes);
  return (
    <>
      {how.length ? <Badge tone="good">video: {how.join(", ")}</Badge> : null}
      {takes?.hears_videos || (!how.length && takes?.audio.length) ? <Badge>hears</Badge> : null}
      {takes ? null : <Badge tone="warn">not to be asked now</Badge>}
      <span>{priceInWords(price)}</span>
      {context(model.context_tokens) ? <span>{context(model.context_tokens)}</span> : null}
    </>
  );
}

type ChosenProps = { value: string; catalog: Catalog | null; estimate: Pick<Estimate, "provider" | "provider_model"> | null };

/** Under the picker: the chosen model with its price's source, or what its name is. */
export function Chosen({ value, catalog, estimate }: ChosenProps) {
  if (!catalog) return <span class="facts">Looking up the models…</span>;
  // A name as fal has it, of OpenRouter's: which provider's it is, only the server knows.
  const target = catalog.aliases[value] ?? (estimate ? `${estimate.provider}/${estimate.provider_model}` : undefined);
  const model = catalog.models.find((each) => each.model === (target ?? value));
  if (model) {
    const { source, dated } = model.price_per_token ?? { source: "free", dated: null };
    return (
      <span class="facts">
        {model.model === value ? null : <span>goes to {model.model}</span>}
        <Facts model={model} />
        {source === "free" ? null : (
          <span>price: {sourceInWords(source, dated)}</span>
        )}
      </span>
    );
  }
  const alias = catalog.aliases[value];
  const said = alias ? `Alias of ${alias}.` : value ? "Not in the list; it is asked for by this name." : "Choose a model.";
  return <span class="facts">{said}</span>;
}
