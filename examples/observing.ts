/** Tries out a policy. With `mode: "observe"`, a breaker decides and reports for real calls, but rejects none. */
import { Effect, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

const policies = BreakerPolicy.layer({
  breakers: { search: { trip: Trip.consecutive(3), cooldown: "20 seconds", mode: "observe" } }
})

let down = false
let made = 0
let failed = 0
const search = Effect.suspend(() => {
  made++
  if (!down) return Effect.succeed("found")
  failed++
  return Effect.fail("down")
}).pipe(CircuitBreaker.protect("search"))

/** Makes a call each second. */
const calls = (seconds: number) =>
  Effect.forEach(Array.from({ length: seconds }), () =>
    Effect.andThen(Effect.exit(search), TestClock.adjust("1 second"))
  )

const program = Effect.gen(function* () {
  yield* Effect.forkChild(
    Stream.runForEach(CircuitBreaker.events, (event) =>
      Effect.sync(() => {
        if (event._tag === "Transition") console.log(`it would be ${event.to} (${event.mode})`)
      })
    ),
    { startImmediately: true }
  )
  yield* calls(10)
  down = true
  yield* calls(30)
  down = false
  yield* calls(20)
  const { totals } = yield* CircuitBreaker.inspect("search")
  console.log(`${made} calls were made, ${failed} failed, ${totals.rejected} were rejected`)
  console.log(`enforce would have rejected ${totals.wouldReject} calls, too many for an outage of 30 seconds`)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(policies),
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
