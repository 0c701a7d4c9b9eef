// Where media are put: dropped, pasted, chosen or by their address; each with its progress and a way out.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Badge, Button } from "../../ui/basics";
import { bytes } from "../../ui/format";
import type { MediaKind } from "./form";
import { ACCEPTED, type Item, KIND_NAMES, type Shelf, addresses, suits } from "./media";

type Props = {
  field: string;
  kind: MediaKind;
  isSeveral: boolean;
  shelf: Shelf;
  problem: string | undefined;
  chosen: number | null;
  onChoose: (key: number) => void;
  onSample: (() => void) | null;
};

export function Clips({ field, kind, isSeveral, shelf, problem, chosen, onChoose, onSample }: Props) {
  const [one, several] = KIND_NAMES[kind];
  const items = shelf.media[field] ?? [];
  const max = isSeveral ? 100 : 1;
  const [address, setAddress] = useState("");
  const [said, setSaid] = useState("");
  const [isOver, setOver] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const group = useRef<HTMLDivElement>(null);
  const id = useId();

  const take = (files: readonly File[], text: string): boolean => {
    const fitting = files.filter((file) => suits(file, kind));
    const urls = addresses(text);
    if (fitting.length) shelf.addFiles(field, fitting, max);
    else if (urls.length) shelf.addUrls(field, urls, max);
    if (files.length > fitting.length) setSaid(`Not ${several}: ${names(files.filter((file) => !fitting.includes(file)))}`);
    else setSaid("");
    return fitting.length + urls.length > 0;
  };
  usePaste((data) => take([...data.files], data.getData("text/plain")), kind);

  /** The button that was pressed goes with its clip: the focus stays near. */
  const remove = (index: number, key: number) => {
    shelf.remove(field, key);
    requestAnimationFrame(() => {
      const left = group.current?.querySelectorAll<HTMLElement>("li .actions > :last-child") ?? [];
      (left[Math.min(index, left.length - 1)] ?? group.current?.querySelector<HTMLElement>(".adding button"))?.focus();
    });
  };
  const addAddress = (event: Event) => {
    event.preventDefault();
    const urls = addresses(address);
    if (!urls.length) return setSaid("An address begins with https:// or http://");
    shelf.addUrls(field, urls, max);
    setAddress("");
    setSaid("");
  };
  const title = (isSeveral ? several : one).replace(/^./, (first) => first.toUpperCase());
  return (
    <div
      ref={group}
      role="group"
      aria-labelledby={id}
      class={`clips ${isOver ? "is-over" : ""} ${problem ? "wrong" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const { dataTransfer } = event;
        if (dataTransfer) take([...dataTransfer.files], dataTransfer.getData("text/uri-list") || dataTransfer.getData("text/plain"));
      }}
    >
      <h2 id={id}>{title}</h2>
      {items.length ? (
        <ol class="items">
          {items.map((item, index) => (
            <Clip
              key={item.key}
              item={item}
              place={[index, items.length]}
              isChosen={kind === "video" && item.key === chosen}
              onChoose={kind === "video" ? () => onChoose(item.key) : null}
              onRemove={() => remove(index, item.key)}
              onRetry={() => shelf.retry(field, item.key)}
              onMove={(by) => shelf.move(field, item.key, by)}
            />
          ))}
        </ol>
      ) : null}
      <div class="adding">
        <p class="quiet">
          Drop or paste, or{" "}
          <Button onClick={() => picker.current?.click()}>Choose {isSeveral ? "files" : "a file"}</Button>
          {onSample ? (
            <>
              {" "}
              <Button onClick={onSample}>Use the sample clip</Button>
            </>
          ) : null}
        </p>
        <input
          ref={picker}
          type="file"
          hidden
          accept={ACCEPTED[kind]}
          multiple={isSeveral}
          aria-label={`Files: ${several}`}
          onChange={(event) => {
            shelf.addFiles(field, [...(event.currentTarget.files ?? [])], max);
            event.currentTarget.value = "";
          }}
        />
        <form class="address" onSubmit={addAddress}>
          <input
            type="text"
            inputMode="url"
            aria-label={`Address of a ${one}`}
            placeholder={kind === "video" ? "https://… video or YouTube link" : "https://…"}
            value={address}
            onInput={(event) => setAddress(event.currentTarget.value)}
          />
          <Button type="submit" disabled={!address.trim()}>
            Add
          </Button>
        </form>
      </div>
      <div role="status" class="said">
        {problem ? <p class="problem">{problem}</p> : null}
        {said ? <p class="problem">{said}</p> : null}
      </div>
    </div>
  );
}

const names = (files: readonly File[]): string => files.map((file) => file.name).join(", ");

/** What is pasted anywhere but into a field is meant for here. */
function usePaste(take: (data: DataTransfer) => boolean, kind: MediaKind): void {
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    const onPaste = (event: ClipboardEvent) => {
      const { clipboardData: data } = event;
      const isInField = (event.target as Element | null)?.closest?.("input, textarea");
      const hasFiles = [...(data?.files ?? [])].some((file) => suits(file, kind));
      if (!data || event.defaultPrevented || (isInField && !hasFiles)) return;
      // An address may be of any kind; it goes to the first of the form.
      if (latest.current(data)) event.preventDefault();
    };
    document.addEventListener("paste", onPaste);
    return () => document.removeEventListener("paste", onPaste);
  }, [kind]);
}

type ClipProps = {
  item: Item;
  place: [index: number, of: number];
  isChosen: boolean;
  onChoose: (() => void) | null;
  onRemove: () => void;
  onRetry: () => void;
  onMove: (by: -1 | 1) => void;
};

function Clip({ item, place: [index, of], isChosen, onChoose, onRemove, onRetry, onMove }: ClipProps) {
  const isGoing = item.share !== null;
  return (
    <li class={isChosen && of > 1 ? "is-chosen" : ""}>
      <span class="number" aria-hidden="true">
        {index + 1}
      </span>
      <span class="what">
        {onChoose && of > 1 ? (
          <button type="button" class="as-link name" aria-pressed={isChosen} onClick={onChoose} title={item.url}>
            {item.name}
          </button>
        ) : (
          <span class="name" title={item.url}>
            {item.name}
          </span>
        )}
        {item.isLink ? <Badge tone="busy">YouTube link</Badge> : null}
        {item.bytes === null ? null : <span class="quiet">{bytes(item.bytes)}</span>}
        {isGoing ? (
          <progress max={1} value={item.share ?? 0} aria-label={`Upload of ${item.name}`} />
        ) : null}
        {item.problem ? <span class="problem">{item.problem}</span> : null}
      </span>
      <span class="actions">
        {item.problem ? <Button kind="quiet" onClick={onRetry}>Try again</Button> : null}
        {of > 1 ? (
          <>
            <Button kind="quiet" aria-label={`${item.name}: further up`} disabled={index === 0} onClick={() => onMove(-1)}>
              ↑
            </Button>
            <Button kind="quiet" aria-label={`${item.name}: further down`} disabled={index === of - 1} onClick={() => onMove(1)}>
              ↓
            </Button>
          </>
        ) : null}
        <Button kind="quiet" aria-label={`${isGoing ? "Cancel the upload of" : "Remove"} ${item.name}`} onClick={onRemove}>
          {isGoing ? "Cancel" : "✕"}
        </Button>
      </span>
    </li>
  );
}
