import type { ProcessView } from "../src/dashboard/view.ts"
import { percent, rate } from "./format.ts"
import { StateMark, words } from "./parts.tsx"

const State = ({ process: { keys, notClosed, state } }: { readonly process: ProcessView }) => {
  if (state !== undefined) {
    return (
      <>
        <StateMark state={state} /> {words[state]}
      </>
    )
  }
  if (notClosed === 0) {
    return (
      <>
        <StateMark state="Closed" /> Closed
      </>
    )
  }
  return (
    <>
      <StateMark state="Open" /> {keys > 0 ? `${notClosed} not closed` : "Not closed"}
    </>
  )
}

/** Shows the circuit in each process, from the latest heartbeats. The rates include all keys of the name. */
export const Processes = ({
  isKey,
  processes
}: {
  readonly processes: ReadonlyArray<ProcessView>
  readonly isKey: boolean
}) => (
  <table class="processes">
    <thead>
      <tr>
        <th scope="col">Process</th>
        <th scope="col">State</th>
        {isKey ? (
          <th scope="col">Recent failures</th>
        ) : (
          <>
            <th scope="col" class="more-room">
              Calls
            </th>
            <th scope="col">Failing</th>
            <th scope="col">Rejected</th>
          </>
        )}
      </tr>
    </thead>
    <tbody>
      {processes.map((one, i) => (
        // Two processes may have the same name.
        <tr key={`${one.process} ${i}`}>
          <th scope="row">
            <bdi>{one.process}</bdi>
          </th>
          <td class="state">
            <State process={one} />
          </td>
          {isKey ? (
            <td>{one.recentFailures}</td>
          ) : (
            <>
              <td class="more-room">{rate(one.calls)} /s</td>
              <td class={one.failures > 0.1 * one.calls ? "bad" : ""}>
                {one.calls === 0 ? "–" : percent(one.failures / one.calls)}
              </td>
              <td class={one.rejections > 0 ? "bad" : ""}>
                {one.rejections === 0 ? "0" : `${rate(one.rejections)} /s`}
              </td>
            </>
          )}
        </tr>
      ))}
    </tbody>
  </table>
)
