// A question before something that cannot be undone.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Button, Dialog, ErrorNote } from "./basics";

type Props = {
  title: string;
  action: string;
  open: boolean;
  onClose: () => void;
  /** What is done when the answer is yes; an error is shown, and the question stays. */
  onYes: () => Promise<unknown>;
  children: ComponentChildren;
};

export function Confirm({ title, action, open, onClose, onYes, children }: Props) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const close = () => {
    setProblem(null);
    onClose();
  };
  const yes = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await onYes();
      close();
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} open={open} onClose={close}>
      {children}
      <ErrorNote message={problem} />
      <div class="actions">
        <Button onClick={close}>Keep it</Button>
        <Button kind="danger" busy={busy} onClick={() => void yes()}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
