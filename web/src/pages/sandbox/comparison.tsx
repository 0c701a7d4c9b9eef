// What was sent to each of them and what it took, in one table.
import { Badge } from "../../ui/basics";
import type { Column } from "./columns";
import { compared } from "./compare";

export function Comparison({ columns }: { columns: readonly Column[] }) {
  const lines = compared(columns);
  if (!lines.length) return null;
  return (
    <section class="panel comparison" aria-labelledby="compared">
      <h2 id="compared">What each was given, and what it took</h2>
      <div class="scroll-x" tabIndex={0} role="region" aria-labelledby="compared">
        <table>
          <thead>
            <tr>
              <th scope="col">
                <span class="off-screen">What</span>
              </th>
              {columns.map(({ key, model }) => (
                <th key={key} scope="col">
                  {model}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {lines.map(({ name, values, differs }) => (
              <tr key={name}>
                <th scope="row">
                  {name} {differs ? <Badge tone="busy">differs</Badge> : null}
                </th>
                {values.map((value) => (
                  <td>{value}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
