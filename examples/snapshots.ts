/** Records the counts of circuits every minute in a database, to show the course of an outage without a metrics system. */
import { Effect, Layer, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { Dependency } from "effect-fuse/testing"
import { sqlite } from "../test/support/sqlite.ts" // Effect 4.1 has no client for SQLite. PgClient works the same way.

// `within` uses the clock of the database, so the test clock starts at the current time.
const start = Date.now()

const program = Effect.gen(function* () {
  const bank = yield* Dependency.make({ answer: "paid", error: "down" })
  const pay = pipe(bank.call, CircuitBreaker.protect("bank"), Effect.ignore, Effect.delay("10 seconds"))
  const minutes = (n: number) =>
    Effect.gen(function* () {
      yield* Effect.forkChild(Effect.repeat(pay, { times: 6 * n - 1 }))
      for (let i = 0; i < n; i++) yield* TestClock.adjust("1 minute")
    })

  yield* minutes(2)
  yield* bank.fail
  yield* minutes(2)
  yield* bank.recover
  yield* minutes(2)

  // The counts are totals since the circuit was created. The difference of two snapshots is what happened in between.
  const series = yield* Snapshots.series("bank", { within: "1 hour" })
  series.forEach((now, i) => {
    const before = series[i - 1]
    const [calls, failures, rejected] = [
      now.calls - (before?.calls ?? 0),
      now.failures - (before?.failures ?? 0),
      now.rejected - (before?.rejected ?? 0)
    ]
    console.log(
      `minute ${(now.at - start) / 60_000}: calls ${calls}, failed ${failures}, rejected ${rejected}; ${now.state}`
    )
  })
})

const App = Snapshots.layer({ every: "1 minute" }).pipe(
  Layer.provideMerge(AuditTrail.layer({ process: "shop" })),
  Layer.provideMerge(BreakerStore.layerMemory),
  Layer.provide(sqlite(":memory:")),
  Layer.provideMerge(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "1 minute" } })),
  Layer.provideMerge(Logger.layer([]))
)
await Effect.runPromise(
  Effect.andThen(TestClock.setTime(start), Effect.provide(program, App)).pipe(Effect.provide(TestClock.layer()))
)
