/** Compares three policies on the same calls: an outage of 20 seconds, and a few errors at other times. */
import { Effect } from "effect"
import { Trip } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"

// To use recorded calls, see `Simulator.parseTrace`, which reads CSV and JSON.
const calls = Simulator.load({
  rate: 20,
  for: "2 minutes",
  errors: 0.02,
  outages: [{ at: "30 seconds", for: "20 seconds" }]
})

const reports = await Effect.runPromise(
  Simulator.run(calls, {
    usual: {},
    hasty: { trip: Trip.consecutive(1), cooldown: "5 seconds" },
    late: { trip: Trip.failureRate({ threshold: 0.5, minimumCalls: 100, over: "1 minute" }) }
  })
)

for (const { flaps, leaked, lost, outages, policy } of reports) {
  const [outage] = outages
  const opened = outage?.timeToOpen === undefined ? "never opened" : `opened after ${Math.round(outage.timeToOpen)} ms`
  console.log(
    `${policy}: ${opened}, ${leaked} calls leaked, ${lost} rejected needlessly, ${flaps} unnecessary openings`
  )
}

// `Simulator.toHtml(reports)` draws a picture, and `Simulator.toRows(reports)` returns a table.
const best = reports.toSorted((a, b) => a.leaked + a.lost - (b.leaked + b.lost))[0]
console.log(`fewest leaked and rejected calls: ${best?.policy}`)
