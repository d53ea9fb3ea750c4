import { memo } from "preact/compat"
import { useEffect, useState } from "preact/hooks"
import type { CircuitView } from "../src/dashboard/view.ts"
import { percent, rate, took } from "./format.ts"
import { useGrowing } from "./growing.ts"
import { type Choice, failureShare, type Sort } from "./model.ts"
import { addressOf, Name, Sparkline, StateMark, words } from "./parts.tsx"

/** Each page of the table has this number of rows. If one cell changes, a browser computes the layout of the whole table. */
const pageRows = 30

const Row = memo(({ circuit }: { readonly circuit: CircuitView }) => {
  const { keys, keysDown, processes, state, traffic } = circuit
  return (
    <tr>
      <th scope="row">
        <StateMark state={state} />
        <span class="hidden">{words[state]}: </span>
        <a href={addressOf(circuit)}>
          <Name circuit={circuit} />
        </a>
      </th>
      <td class="wide">
        <Sparkline history={circuit.history} />
      </td>
      <td class="more-room">{traffic === undefined ? "–" : `${rate(traffic.calls)} /s`}</td>
      <td class={failureShare(circuit) >= 0.1 ? "bad" : ""}>
        {traffic === undefined || traffic.calls === 0 ? "–" : percent(failureShare(circuit))}
      </td>
      <td class={traffic !== undefined && traffic.rejections > 0 ? "bad" : ""}>
        {traffic === undefined ? "–" : traffic.rejections === 0 ? "0" : `${rate(traffic.rejections)} /s`}
      </td>
      <td class="more-room">{traffic?.p95 === undefined ? "–" : took(traffic.p95)}</td>
      <td class="more-room">
        {traffic === undefined
          ? "–"
          : traffic.limit === undefined
            ? traffic.inFlight
            : `${traffic.inFlight} of ${traffic.limit}`}
      </td>
      <td class="more-room">{keys === 0 ? "–" : keysDown === 0 ? keys : `${keysDown} of ${keys} down`}</td>
      <td class="more-room">{processes}</td>
    </tr>
  )
})

/** The columns after the name. A phone has room for two of them. */
const columns: ReadonlyArray<readonly [title: string, sort: Sort | undefined]> = [
  ["Calls", "calls"],
  ["Failing", "failures"],
  ["Rejected", "rejections"],
  ["p95", "p95"],
  ["In flight", undefined],
  ["Keys", "keys"],
  ["Processes", undefined]
]

const onPhones = new Set(["Name", "Failing", "Rejected"])

/** What the colours of the small plots mean. */
const Legend = () => (
  <p class="legend" aria-hidden="true">
    <span class="calls">calls</span>
    <span class="failures">failures</span>
    <span class="rejections">rejections</span>
    <span class="quiet">per second, last 5 minutes</span>
  </p>
)

export const Names = ({
  circuits,
  choice,
  onSort
}: {
  readonly circuits: ReadonlyArray<CircuitView>
  readonly choice: Choice
  readonly onSort: (sort: Sort) => void
}) => {
  const [from, setFrom] = useState(0)
  useEffect(() => setFrom(0), [choice])
  const { length } = circuits
  // The list may have become shorter.
  const first = Math.min(from, Math.max(0, Math.ceil(length / pageRows) - 1) * pageRows)
  const last = Math.min(first + pageRows, length)
  const drawn = useGrowing(last - first)
  const header = (title: string, sort: Sort | undefined) => (
    <th
      key={title}
      scope="col"
      class={onPhones.has(title) ? "" : "more-room"}
      aria-sort={choice.sort === sort ? (sort === "name" ? "ascending" : "descending") : undefined}
    >
      {sort === undefined ? (
        title
      ) : (
        <button type="button" onClick={() => onSort(sort)}>
          {title}
        </button>
      )}
    </th>
  )
  return (
    <section aria-label="All circuits">
      <div class="heading">
        <h2>All circuits</h2>
        <Legend />
      </div>
      <table>
        <thead>
          <tr>
            {header("Name", "name")}
            <th scope="col" class="wide">
              Traffic
            </th>
            {columns.map(([title, sort]) => header(title, sort))}
          </tr>
        </thead>
        <tbody>
          {circuits.slice(first, first + drawn).map((circuit) => (
            <Row key={circuit.id} circuit={circuit} />
          ))}
        </tbody>
      </table>
      {length === 0 && <p class="more">No circuit matches.</p>}
      {length > pageRows && (
        <nav class="pager" aria-label="Pages of the table">
          <button type="button" disabled={first === 0} onClick={() => setFrom(first - pageRows)}>
            Previous
          </button>
          <span aria-live="polite">
            {(first + 1).toLocaleString("en-US")} to {last.toLocaleString("en-US")} of {length.toLocaleString("en-US")}
          </span>
          <button type="button" disabled={last >= length} onClick={() => setFrom(first + pageRows)}>
            Next
          </button>
        </nav>
      )}
    </section>
  )
}
