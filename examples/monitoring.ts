/** How long a circuit was in each state, and alerts that are made of its events: one of an outage, one of flapping. */
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
      // Of a circuit that moves for the first time nobody knows how long it had been Closed.
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
  // At once: who listens hears what happens from then on.
  yield* Effect.forkChild(watch, { startImmediately: true })
  const bank = yield* Dependency.make({ answer: "paid", error: "down" })
  const pay = pipe(bank.call, CircuitBreaker.protect("bank"), Effect.ignore)

  yield* pay
  for (let outage = 0; outage < 3; outage++) {
    yield* TestClock.adjust("2 minutes")
    yield* bank.failNext(3)
    yield* Effect.repeat(pay, { times: 2 })
    yield* TestClock.adjust("45 seconds")
    yield* pay // finds it well again
  }
  yield* TestClock.adjust("1 second") // let the watcher hear it
  for (const [state, millis] of timeIn) console.log(`${state}: ${Duration.format(Duration.millis(millis))}`) // probes took no time
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(3) } })),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
