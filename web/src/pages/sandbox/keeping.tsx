// Saving a sandbox, showing it to others by a link, and taking it away.
import { useState } from "preact/hooks";
import { ApiError, post, put } from "../../api";
import { go } from "../../router";
import { isActive } from "../../runs";
import { Button, Copy, ErrorNote, Field } from "../../ui/basics";
import type { Input } from "../playground/form";
import type { Column, Sandbox } from "./columns";
import { asJson, asMarkdown, download, fileName } from "./export";

type Props = {
  sandbox: Sandbox;
  input: Input;
  columns: readonly Column[];
  isUploading: boolean;
  onSaved: (id: string) => void;
};

const PAUSES_MS = [300, 700, 1500];

export function Keeping({ sandbox, input, columns, isUploading, onSaved }: Props) {
  const [kept, setKept] = useState({ id: sandbox.sandbox_id, link: sandbox.link, mayChange: sandbox.may_change });
  const [name, setName] = useState(sandbox.name);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const [problem, setProblem] = useState<string | null>(null);

  const save = async (isShared: boolean, done: string) => {
    setBusy(true);
    setProblem(null);
    setSaid("");
    try {
      const body = {
        name,
        endpoint: sandbox.endpoint,
        input,
        columns: columns.filter(({ model }) => model).map((column) => ({ model: column.model, request_id: known(column) })),
        is_shared: isShared,
      };
      const answer = await patiently(() =>
        kept.id && kept.mayChange
          ? put<Sandbox>(`/telecine/v1/sandboxes/${kept.id}`, body)
          : post<Sandbox>("/telecine/v1/sandboxes", body),
      );
      setKept({ id: answer.sandbox_id, link: answer.link, mayChange: true });
      setSaid(done);
      if (answer.sandbox_id) {
        onSaved(answer.sandbox_id);
        go(`/ui/sandbox/${answer.sandbox_id}`, { replace: true });
      }
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setBusy(false);
    }
  };
  const isOff = busy || isUploading || !columns.some(({ model }) => model);
  const saved = columns.some(({ run }) => isActive(run)) ? "Saved, without the answers that are still coming." : "Saved.";
  const taken = { name, endpoint: sandbox.endpoint, input, columns };
  const isOwn = kept.mayChange;
  return (
    <section class="panel keeping" aria-labelledby="keeping">
      <h2 id="keeping">Keep it</h2>
      {isOwn ? null : <p class="note">This one is somebody else’s, opened by its link. You can run it and save a copy of your own.</p>}
      <Field label="Name">
        {(id) => <input id={id} type="text" maxLength={200} value={name} onInput={(event) => setName(event.currentTarget.value)} />}
      </Field>
      <div class="bar">
        <Button kind="primary" busy={busy} disabled={isOff} onClick={() => void save(isOwn && kept.link !== null, saved)}>
          {!isOwn ? "Save a copy" : kept.id ? "Save the changes" : "Save"}
        </Button>
        {kept.id && isOwn ? (
          kept.link ? (
            <Button disabled={isOff} onClick={() => void save(false, "The link opens nothing any more.")}>
              Take the link back
            </Button>
          ) : (
            <Button disabled={isOff} onClick={() => void save(true, "Shared.")}>
              Share by link
            </Button>
          )
        ) : null}
        <Button onClick={() => download(fileName(name, "md"), "text/markdown", asMarkdown(taken))}>Export Markdown</Button>
        <Button onClick={() => download(fileName(name, "json"), "application/json", asJson(taken))}>Export JSON</Button>
        {kept.id ? (
          <a class="button" href="/ui/sandbox">
            A new one
          </a>
        ) : null}
      </div>
      {kept.link && isOwn ? (
        <p class="link">
          <code>{`${location.origin}/ui/sandbox/${kept.link}`}</code>
          <Copy text={`${location.origin}/ui/sandbox/${kept.link}`} label="Copy the link" />
          <span class="quiet">Everyone with a key of this server can open it, and change nothing. Files that are private stay so.</span>
        </p>
      ) : null}
      <p role="status" class="said">
        {said}
      </p>
      <ErrorNote message={problem} />
    </section>
  );
}

/** The request whose result is to be kept: of this key, and over. */
const known = ({ run, isForeign }: Column): string | null => (isForeign || isActive(run) ? null : run.requestId);

/** A call that has just ended may be written down a moment later. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const pause of PAUSES_MS) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 400 && error.message.includes("not ended"))) throw error;
      await new Promise((done) => setTimeout(done, pause));
    }
  }
  return work();
}
