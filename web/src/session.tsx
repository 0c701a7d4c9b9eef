// Who is signed in. Without keys (serve --no-auth) everybody on this machine is.
import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { ApiError, del, get, post, signedOut } from "./api";
import { Button, ErrorNote, Field, Spinner } from "./ui/basics";

export type Session = { key_id: string; scopes: string[]; needs_key: boolean };

const Current = createContext<Session | null>(null);

export const useSession = (): Session => {
  const session = useContext(Current);
  if (!session) throw new Error("used outside of SignedIn");
  return session;
};

export const isAdmin = (session: Session): boolean => session.scopes.includes("ADMIN");

export async function signOut(): Promise<void> {
  await del("/telecine/v1/session");
  signedOut.tell(true);
}

export function SignedIn({ children }: { children: ComponentChildren }) {
  const [session, setSession] = useState<Session | null | "unknown">("unknown");
  const [problem, setProblem] = useState<string | null>(null);
  const wasIn = useRef(false);
  const look = async () => {
    try {
      setSession(await get<Session>("/telecine/v1/session"));
      wasIn.current = true;
      setProblem(null);
    } catch (error) {
      setSession(null);
      setProblem(error instanceof ApiError && error.status === 401 ? null : (error as Error).message);
    }
  };
  useEffect(() => {
    signedOut.tell = (isWanted = false) => {
      if (wasIn.current && !isWanted) setProblem("This session has ended: it is too old, or its key no longer holds. Sign in again.");
      wasIn.current = false;
      setSession(null);
    };
    void look();
  }, []);
  if (session === "unknown") return <Spinner label="One moment" />;
  const signedIn = async () => {
    await look();
    requestAnimationFrame(() => document.getElementById("main")?.focus());
  };
  if (session === null) return <SignIn problem={problem} onDone={signedIn} />;
  return <Current.Provider value={session}>{children}</Current.Provider>;
}

function SignIn({ problem, onDone }: { problem: string | null; onDone: () => Promise<void> }) {
  const [key, setKey] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await post("/telecine/v1/session", { key: key.trim() });
      await onDone();
    } catch (failure) {
      setError(
        failure instanceof ApiError && failure.status === 401
          ? "This key is not valid here."
          : (failure as Error).message,
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="signin" tabIndex={-1}>
      <h1 class="brand">
        <img src="/ui/icon.svg" alt="" width="32" height="32" />
        Telecine
      </h1>
      <p>Sign in with one of this server’s keys.</p>
      <form onSubmit={submit}>
        <Field label="Key" hint="It looks like id:secret, and stays in this browser as a cookie that no script can read.">
          {(id) => (
            <input
              id={id}
              type="password"
              autocomplete="current-password"
              value={key}
              required
              onInput={(event) => setKey(event.currentTarget.value)}
            />
          )}
        </Field>
        <ErrorNote message={error ?? problem} />
        <Button kind="primary" type="submit" busy={busy}>
          Sign in
        </Button>
      </form>
      <p class="quiet">
        The first start in a terminal showed a key once. For another, on the machine of the server and with its data folder:{" "}
        <code>telecine keys create --scope ADMIN</code>
      </p>
    </main>
  );
}
