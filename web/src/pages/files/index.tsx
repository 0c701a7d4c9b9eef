// The files that were uploaded: for how long, where, and away with them.
import { useRef, useState } from "preact/hooks";
import { del } from "../../api";
import { API, moment } from "../../console";
import { upload } from "../../fal";
import { isAdmin, useSession } from "../../session";
import { Badge, Button, Copy, Empty, ErrorNote, Spinner } from "../../ui/basics";
import { Confirm } from "../../ui/confirm";
import { bytes } from "../../ui/format";
import { usePages } from "../../ui/loading";

type Stored = {
  file_id: string;
  key_id: string;
  name: string;
  content_type: string;
  bytes: number;
  created_at: string;
  expires_at: string | null;
  is_private: boolean;
  url: string;
};

export default function Files() {
  const list = usePages<"files", Stored>(`${API}/files?limit=100`, "files");
  const [doomed, setDoomed] = useState<Stored | null>(null);
  return (
    <>
      <h1>Files</h1>
      <Uploads onDone={list.reload} />
      <ErrorNote message={list.problem} />
      {list.rows === null ? list.problem ? null : <Spinner label="Reading" /> : <Table rows={list.rows} onDelete={setDoomed} />}
      {list.hasMore ? (
        <p class="after">
          <Button busy={list.busy} onClick={() => void list.more()}>
            More
          </Button>
        </p>
      ) : null}
      <Confirm
        title="Delete this file?"
        action="Delete"
        open={doomed !== null}
        onClose={() => setDoomed(null)}
        onYes={async () => {
          await del(`${API}/files/${doomed?.file_id}`);
          await list.reload();
        }}
      >
        <p class="long">
          <strong>{doomed?.name}</strong>: its address shows nothing from then on, to nobody.
        </p>
      </Confirm>
    </>
  );
}

function Table({ rows, onDelete }: { rows: Stored[]; onDelete: (file: Stored) => void }) {
  const isBoss = isAdmin(useSession());
  if (!rows.length) {
    return (
      <Empty title="No files">
        <p>What is uploaded here, in the Playground or by a program stays until it expires.</p>
      </Empty>
    );
  }
  return (
    <div class="panel">
      <div class="scroll-x" tabIndex={0} role="region" aria-label="Files">
        <table class="stacking">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Type</th>
              <th scope="col" class="figure">
                Size
              </th>
              <th scope="col">Uploaded</th>
              <th scope="col">Expires</th>
              {isBoss ? <th scope="col">Key</th> : null}
              <th scope="col">
                <span class="off-screen">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((file) => (
              <tr>
                <th scope="row" class="long">
                  <a href={file.url} target="_blank" rel="noopener noreferrer">
                    {file.name}
                  </a>{" "}
                  {file.is_private ? <Badge>private</Badge> : null}
                </th>
                <td data-label="Type">{file.content_type}</td>
                <td data-label="Size" class="figure">
                  {bytes(file.bytes)}
                </td>
                <td data-label="Uploaded" class="nowrap">
                  {moment(file.created_at)}
                </td>
                <td data-label="Expires" class="nowrap">
                  {file.expires_at ? moment(file.expires_at) : "never"}
                </td>
                {isBoss ? (
                  <td data-label="Key">
                    <code>{file.key_id.slice(0, 8)}</code>
                  </td>
                ) : null}
                <td class="do">
                  <Copy text={file.url} label="Copy URL" />
                  <Button kind="quiet" onClick={() => onDelete(file)} aria-label={`Delete ${file.name}`}>
                    Delete
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

type Upload = { id: number; name: string; share: number; problem: string | null; stop: () => void };

/** A place to drop files on, and how far each of them is. */
function Uploads({ onDone }: { onDone: () => Promise<void> }) {
  const [uploads, setUploads] = useState<Upload[]>([]);
  const [isOver, setOver] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const last = useRef(0);
  const change = (id: number, more: Partial<Upload>) =>
    setUploads((all) => all.map((each) => (each.id === id ? { ...each, ...more } : each)));
  const leave = (id: number) => setUploads((all) => all.filter((each) => each.id !== id));
  const send = async (file: File) => {
    const id = ++last.current;
    const abort = new AbortController();
    setUploads((all) => [...all, { id, name: file.name, share: 0, problem: null, stop: () => abort.abort() }]);
    try {
      await upload(file, { onProgress: (share) => change(id, { share }), signal: abort.signal });
      leave(id);
      await onDone();
    } catch (error) {
      if (abort.signal.aborted) leave(id);
      else change(id, { problem: (error as Error).message });
    }
  };
  const take = (files: FileList | null | undefined) => [...(files ?? [])].forEach((file) => void send(file));
  return (
    <div
      class={`drop ${isOver ? "over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer?.files);
      }}
    >
      <p>
        <Button kind="primary" onClick={() => picker.current?.click()}>
          Upload files
        </Button>{" "}
        <span class="quiet">or drop them here</span>
      </p>
      <input
        ref={picker}
        type="file"
        multiple
        class="off-screen"
        tabIndex={-1}
        aria-label="Files to upload"
        onChange={(event) => {
          take(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
      <ul class="plain" aria-label="Uploads under way">
        {uploads.map((each) => (
          <li>
            <span class="long">{each.name}</span>
            {each.problem ? (
              <span role="alert" class="problem">
                {each.problem}
              </span>
            ) : (
              <progress value={each.share} max={1} aria-label={`Upload of ${each.name}`} />
            )}
            <Button kind="quiet" onClick={() => (each.problem ? leave(each.id) : each.stop())}>
              {each.problem ? "Dismiss" : "Cancel"}
            </Button>
          </li>
        ))}
      </ul>
    </div>
  );
}
