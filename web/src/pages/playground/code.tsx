// The same call from code, to copy.
import { Copy, Tabs } from "../../ui/basics";
import { type Asked, snippets } from "./snippets";

export function Code(asked: Asked) {
  const tabs = snippets(asked).map((snippet) => ({
    name: snippet.name,
    body: () => (
      <div class="snippet">
        <div class="head">
          <p class="hint">{snippet.about}</p>
          <Copy key={snippet.name} text={snippet.text} label={`Copy ${snippet.name}`} />
        </div>
        <pre tabIndex={0} role="region" aria-label={snippet.name}>
          <code>{snippet.text}</code>
        </pre>
      </div>
    ),
  }));
  return (
    <section class="panel code" aria-labelledby="from-code">
      <h2 id="from-code">Call it from code</h2>
      <Tabs label="Languages" tabs={tabs} />
    </section>
  );
}
