import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Circuit } from "effect-fuse/core"
import { written } from "./support/simulation/contract.ts"
import type { Entry, History } from "./support/simulation/history.ts"
import { scenario } from "./support/simulation/scenario.ts"
import { chosen } from "./support/simulation/seeds.ts"
import { trailOf } from "./support/simulation/trail.ts"

const seeds = chosen(30)

/** Clocks of processes agree: the trail has times of theirs. */
const played = (seed: number) => {
  const { endsAt, simulation } = scenario(seed)
  for (const process of simulation.processes) process.jump = () => {}
  simulation.runUntil(endsAt)
  return simulation
}

/** A process that waits longer for an answer has given up. */
const deadlineMillis = 200

/** Whether the process learned of its own transition. If it did not, and was in another state, it cannot write the transition. */
const isAnswered = (history: History, { at, process }: Extract<Entry, { readonly _tag: "Swapped" }>): boolean => {
  const applied = history
    .of("Applied")
    .find((one) => one.at === at && one.process === process && written(one.request, one.answer).length > 0)
  const answered = history.of("Answered").find(({ command }) => command === applied?.command)
  return answered !== undefined && answered.at - at < deadlineMillis
}

describe("the trail of a fleet with all faults", () => {
  it.live(
    "has only Closed circuits after the faults end, and no outage longer than the real one",
    () =>
      Effect.gen(function* () {
        let outages = 0
        for (const seed of seeds) {
          const { history } = played(seed)
          const told = yield* trailOf(history)
          assert.deepStrictEqual(told.standing, [], `seed ${seed}`)
          let before: Circuit.Outage | undefined
          for (const swapped of history.of("Swapped")) {
            const { at, state } = swapped
            const after = Circuit.outage(state)
            if (before !== undefined && after === undefined && isAnswered(history, swapped)) {
              outages++
              const down = told.outages.get(Math.round(before.at))
              const message = `seed ${seed}: the outage from ${before.at} to ${at} is ${down} ms in the trail`
              assert.isDefined(down, message)
              // A process that has lost its store may find its end before the fleet does.
              assert.isAtMost(down ?? 0, at - before.since + 500, message)
            }
            before = after
          }
        }
        if (seeds.length > 1) assert.isAbove(outages, seeds.length / 2)
      }),
    300_000
  )
})
