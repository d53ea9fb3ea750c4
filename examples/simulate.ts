/** What three policies would have made of the same calls: of an outage of 20 seconds among usual errors. */
import { Effect } from "effect"
import { Trip } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"

// Or what really happened: `Simulator.parseTrace` reads CSV and JSON.
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
  console.log(`${policy}: ${opened}, ${leaked} calls leaked, ${lost} lost for nothing, ${flaps} openings without need`)
}

// `Simulator.toHtml(reports)` draws a picture of it, and `toRows` is a table.
const best = reports.toSorted((a, b) => a.leaked + a.lost - (b.leaked + b.lost))[0]
console.log(`fewest of both: ${best?.policy}`)
