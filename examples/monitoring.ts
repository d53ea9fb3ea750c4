/** Derives from events how long a circuit was in each state, and two alerts: one for an outage, one for flapping. */
import { Clock, Duration, Effect, Logger, pipe, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { Dependency } from "effect-fuse/testing"

const timeIn = new Map<string, number>()
const openedAt: Array<number> = []

const watch = Effect.flatMap(Clock.currentTimeMillis, (begun) =>
  Stream.runForEach(CircuitBreaker.events, (event) =>
    Effect.sync(() => {
      if (event._tag !== "Transition") return
      const { at, circuit, detail, from, to, why } = event
      // At the first transition of a circuit, the duration of its first Closed state is unknown.
      timeIn.set(from, (timeIn.get(from) ?? 0) + (event.lastedMillis ?? at - begun))
      if (to === "Closed") console.log(`resolved: ${circuit} is back`)
      if (why !== "Tripped") return
      console.log(`alert: ${circuit} is open: ${detail}`)
      openedAt.push(at)
      if (openedAt.filter((time) => at - time < 600_000).length === 3) console.log(`alert: ${circuit} is flapping`)
    })
  )
)

const program = Effect.gen(function* () {
  // Starts immediately, because a listener misses earlier events.
  yield* Effect.forkChild(watch, { startImmediately: true })
  const bank = yield* Dependency.make({ answer: "paid", error: "down" })
  const pay = pipe(bank.call, CircuitBreaker.protect("bank"), Effect.ignore)

  yield* pay
  for (let outage = 0; outage < 3; outage++) {
    yield* TestClock.adjust("2 minutes")
    yield* bank.failNext(3)
    yield* Effect.repeat(pay, { times: 2 })
    yield* TestClock.adjust("45 seconds")
    yield* pay // the probe succeeds
  }
  yield* TestClock.adjust("1 second") // let the watcher receive the event
  for (const [state, millis] of timeIn) console.log(`${state}: ${Duration.format(Duration.millis(millis))}`) // the probes took no time
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(3) } })),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
