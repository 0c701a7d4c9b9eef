// The sandboxes that this key has saved, an administrator all.
import { useState } from "preact/hooks";
import { del } from "../../api";
import { isAdmin, useSession } from "../../session";
import { Badge, Button, ErrorNote } from "../../ui/basics";
import { Confirm } from "../../ui/confirm";
import { when } from "../../ui/format";
import { usePages } from "../../ui/loading";
import type { Listed } from "./columns";

export function Saved() {
  const { rows, problem, busy, hasMore, more, reload } = usePages<"sandboxes", Listed>("/telecine/v1/sandboxes?limit=20", "sandboxes");
  const [leaving, setLeaving] = useState<Listed | null>(null);
  const session = useSession();
  return (
    <section class="saved-list" aria-labelledby="saved">
      <h2 id="saved">Saved</h2>
      <ErrorNote message={problem} />
      {rows?.length ? (
        <ul class="panel plain">
          {rows.map((each) => (
            <li key={each.sandbox_id}>
              <span class="what">
                <a href={`/ui/sandbox/${each.sandbox_id}`}>{each.name || "Without a name"}</a>{" "}
                {each.link ? <Badge tone="busy">shared</Badge> : null}
                <span class="quiet">
                  {each.models.join(", ")} · {when(each.updated_at)}
                  {isAdmin(session) && each.key_id !== session.key_id ? ` · key ${each.key_id}` : ""}
                </span>
              </span>
              <Button kind="quiet" aria-label={`Delete ${each.name || "the one without a name"}`} onClick={() => setLeaving(each)}>
                Delete
              </Button>
            </li>
          ))}
        </ul>
      ) : rows ? (
        <p class="quiet">Nothing saved yet. What you save here can be opened again, shown to others by a link, and exported.</p>
      ) : null}
      {hasMore ? (
        <Button busy={busy} onClick={() => void more()}>
          More
        </Button>
      ) : null}
      <Confirm
        title="Delete this sandbox?"
        action="Delete it"
        open={leaving !== null}
        onClose={() => setLeaving(null)}
        onYes={async () => {
          await del(`/telecine/v1/sandboxes/${leaving?.sandbox_id ?? ""}`);
          await reload();
        }}
      >
        <p>“{leaving?.name || "Without a name"}” and its saved answers go; its link opens nothing from then on. The requests stay.</p>
      </Confirm>
    </section>
  );
}
