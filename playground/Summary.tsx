/** Shows the results of the simulation as sentences and as a table. */
import { count, difference, recoveryText, type Totals, totalsOf } from "./figures.ts"
import { letterOf, nameOf } from "./names.ts"
import { millis } from "./settings.ts"
import type { Played } from "./simulations.ts"

const rows: ReadonlyArray<readonly [words: string, show: (totals: Totals) => string]> = [
  ["Calls", ({ offered }) => count(offered)],
  ["Calls answered in time", ({ answered }) => count(answered)],
  ["Calls failed or timed out", ({ failed }) => count(failed)],
  ["Calls rejected", ({ rejected }) => count(rejected)],
  ["Attempts that reached the server", ({ sent }) => count(sent)],
  ["Circuit openings", ({ openings }) => count(openings)],
  ["99 % of answers arrive within", ({ p99 }) => (p99 === undefined ? "no answer" : millis(p99))],
  ["Recovered after the fault", ({ recovery }) => recoveryText(recovery)]
]

/** Compares each other policy with the first policy, in a sentence. Screen readers announce each change. */
export const Differences = ({ played: { reports } }: { readonly played: Played }) => {
  const [first, ...others] = reports.map(totalsOf)
  return (
    <div class="differences" aria-live="polite">
      {first !== undefined &&
        others.map((totals, i) => (
          <p key={letterOf(i + 1)}>{difference(`policy ${letterOf(0)}`, first, `policy ${letterOf(i + 1)}`, totals)}</p>
        ))}
    </div>
  )
}

export const Figures = ({ played: { reports, settings } }: { readonly played: Played }) => {
  const all = reports.map(totalsOf)
  const names = settings.policies.map(nameOf)
  return (
    <section class="figures" aria-labelledby="figures">
      <h2 id="figures">What each policy does</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Whole simulation</th>
              {names.map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(([words, show]) => (
              <tr key={words}>
                <th scope="row">{words}</th>
                {all.map((totals, i) => (
                  <td key={letterOf(i)}>{show(totals)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}
