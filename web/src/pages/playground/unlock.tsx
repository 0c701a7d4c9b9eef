// Which variable brings which models: shown while nothing but the embedded ones is there.
import { Button } from "../../ui/basics";
import type { Catalog } from "./models";

const KEYS = [
  ["OPENROUTER_API_KEY", "hundreds of models of OpenRouter, dozens of which take videos"],
  ["GEMINI_API_KEY", "Google’s Gemini at first hand, with YouTube links and long videos"],
  ["ANTHROPIC_API_KEY", "Anthropic’s Claude, which is shown pictures of a video"],
] as const;

const FIRST = "local/report";
const EMBEDDED = new Set(["local", "echo"]);

type Props = { catalog: Catalog | null; onTry?: ((model: string) => void) | null };

export function Unlock({ catalog, onTry = null }: Props) {
  if (!catalog) return null;
  const silent = Object.entries(catalog.unavailable);
  const isAlone = catalog.models.every((model) => EMBEDDED.has(model.provider));
  if (!isAlone && !silent.length) return null;
  return (
    <aside class="note unlock" aria-label="Models">
      {isAlone ? (
        <>
          <p>
            No provider has a key yet. <strong>{FIRST}</strong> works all the same: on this machine, for nothing. It writes down
            what is said and shown.
          </p>
          {onTry && catalog.models.some(({ model }) => model === FIRST) ? (
            <p>
              <Button kind="primary" onClick={() => onTry(FIRST)}>
                Try it with the sample clip
              </Button>
            </p>
          ) : null}
          <p>
            For more models, set a variable and start <code>telecine serve</code> again:
          </p>
          <ul>
            {KEYS.map(([name, brings]) => (
              <li>
                <code>{name}</code>: {brings}
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {silent.map(([name, problem]) => (
        <p>
          <strong>{name}</strong>: {problem}
        </p>
      ))}
    </aside>
  );
}
