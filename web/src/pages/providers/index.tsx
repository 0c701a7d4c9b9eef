// Who could answer now, what is wrong with the others, and what would unlock more.
import { API } from "../../console";
import { isAdmin, useSession } from "../../session";
import { Badge, Button, Empty, ErrorNote, Spinner } from "../../ui/basics";
import { span } from "../../ui/format";
import { useLoad } from "../../ui/loading";

type Provider = {
  name: string;
  type: string;
  host: string | null;
  key_variable: string | null;
  has_key: boolean | null;
  is_ok: boolean;
  says: string;
  fix: string | null;
  held: { model: string; seconds: number; why: string | null }[];
};

type Answer = { providers: Provider[]; locked: { type: string; key_variables: string[]; fix: string }[] };

const NAMES: Record<string, string> = { openrouter: "OpenRouter", gemini: "Gemini", anthropic: "Anthropic" };

export default function Providers() {
  const { data, problem, reload } = useLoad<Answer>(`${API}/providers`);
  return (
    <>
      <div class="title">
        <h1>Providers</h1>
        <Button onClick={() => void reload()}>Look again</Button>
      </div>
      <p class="quiet">Their health is looked at no more than every 30 seconds. No call is billed for it.</p>
      <ErrorNote message={problem} />
      {data ? <Found {...data} /> : problem ? null : <Spinner label="Asking every provider" />}
    </>
  );
}

function Found({ providers, locked }: Answer) {
  const isBoss = isAdmin(useSession());
  return (
    <>
      {providers.length ? null : <Empty title="No provider is configured" />}
      <ul class="cards">
        {providers.map((each) => (
          <li class="panel">
            <One provider={each} />
          </li>
        ))}
      </ul>
      {locked.length ? (
        <section aria-labelledby="locked">
          <h2 id="locked">What a key would unlock</h2>
          <ul class="cards">
            {locked.map((each) => (
              <li class="panel">
                <h3>{NAMES[each.type] ?? each.type}</h3>
                <p>
                  Key in{" "}
                  {each.key_variables.map((name, index) => (
                    <>
                      {index ? " or " : ""}
                      <code>{name}</code>
                    </>
                  ))}
                </p>
                {isBoss ? <p class="fix">{each.fix}</p> : <p class="quiet">Whoever runs this server can set it.</p>}
              </li>
            ))}
          </ul>
        </section>
      ) : null}
    </>
  );
}

function One({ provider }: { provider: Provider }) {
  const { name, type, host, key_variable, has_key, is_ok, says, fix, held } = provider;
  return (
    <>
      <h2>
        {name} <Badge tone={is_ok ? "good" : "bad"}>{is_ok ? "fine" : "not usable"}</Badge>
      </h2>
      <p>{says}</p>
      {fix ? <p class="fix">To mend it: {fix}</p> : null}
      <p class="quiet">
        {[type === name ? "" : `type ${type}`, host ?? "", keyOf(has_key, key_variable)].filter(Boolean).join(" · ")}
      </p>
      {held.map((each) => (
        <div class="note warn">
          <p>
            <code>{each.model}</code> is left alone for {span(each.seconds)}{each.why ? `: ${each.why}` : ""}
          </p>
        </div>
      ))}
    </>
  );
}

function keyOf(has: boolean | null, variable: string | null): string {
  if (has === null) return "needs no key";
  if (!has) return variable ? `no key: ${variable} is not set` : "no key";
  return variable ? `key from ${variable}` : "has a key";
}
