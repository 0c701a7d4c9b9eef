// The Sandbox: the same prompt and clips for two to six models at once, side by side.
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../api";
import type { PageProps } from "../../app";
import { ErrorNote, Spinner } from "../../ui/basics";
import { type Sandbox } from "./columns";
import { Bench } from "./bench";
import { Saved } from "./saved";

const NEW: Sandbox = {
  sandbox_id: null,
  link: null,
  name: "",
  endpoint: "openrouter/router/video",
  may_change: true,
  input: {},
  columns: [],
  updated_at: "",
};

export default function SandboxPage({ rest }: PageProps) {
  const [opened, setOpened] = useState<Sandbox | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [round, setRound] = useState(0);
  const shown = useRef<string | null>(null);
  useEffect(() => {
    // What was just saved under a new address is on the screen already.
    if (shown.current === rest) return;
    shown.current = rest;
    const abort = new AbortController();
    setProblem(null);
    setOpened(null);
    const asked = rest ? get<Sandbox>(`/telecine/v1/sandboxes/${encodeURIComponent(rest)}`, abort.signal) : Promise.resolve(NEW);
    asked.then(
      (found) => {
        if (abort.signal.aborted) return;
        setOpened(found);
        setRound((at) => at + 1);
      },
      (error: Error) => abort.signal.aborted || setProblem(error.message),
    );
    return () => abort.abort();
  }, [rest]);
  return (
    <>
      <h1 class={opened?.name ? "" : "off-screen"}>{opened?.name || "Sandbox"}</h1>
      {problem ? (
        <ErrorNote message={problem}>
          <p>
            <a href="/ui/sandbox">Begin a new one</a>
          </p>
        </ErrorNote>
      ) : opened ? (
        <Bench key={round} sandbox={opened} onSaved={(id) => (shown.current = id)} />
      ) : (
        <Spinner label="Loading" />
      )}
      {rest ? null : <Saved />}
    </>
  );
}
