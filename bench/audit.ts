/**
 * Measures whether the audit trail keeps up with 10,000 transitions per second, for 10 seconds. Starts its own PostgreSQL.
 *
 *     npm run bench:audit
 */
import { Effect, Layer, Logger } from "effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { client, postgresServer } from "../test/support/postgresServer.ts"

const perSecond = 10_000
const seconds = 10

const program = Effect.gen(function* () {
  const { url } = yield* postgresServer
  const layer = AuditTrail.layer().pipe(
    Layer.provideMerge(BreakerStore.layerMemory),
    Layer.provideMerge(client(url)),
    Layer.provideMerge(Logger.layer([]))
  )
  return yield* Effect.gen(function* () {
    const step = Effect.gen(function* () {
      for (let i = 0; i < perSecond / 20; i++) {
        yield* CircuitBreaker.isolate("api", { key: `${i}` })
        yield* CircuitBreaker.release("api", { key: `${i}` })
      }
    })
    yield* step
    yield* AuditTrail.flush
    globalThis.gc?.()
    const heap = process.memoryUsage().heapUsed
    const already = (yield* AuditTrail.stats).written
    let waiting = 0
    let late = 0
    for (let i = 0; i < seconds * 10; i++) {
      const began = performance.now()
      yield* step
      waiting = Math.max(waiting, (yield* AuditTrail.stats).pending)
      const left = 100 - (performance.now() - began)
      if (left < 0) late++
      yield* Effect.sleep(Math.max(0, left))
    }
    yield* AuditTrail.flush
    globalThis.gc?.()
    const { dropped, written } = yield* AuditTrail.stats
    const days = yield* AuditTrail.transitionsPerDay()
    const found = days.reduce((sum, { transitions }) => sum + transitions, 0) - already
    return { written: written - already, found, dropped, waiting, late, grown: process.memoryUsage().heapUsed - heap }
  }).pipe(Effect.provide(layer))
}).pipe(Effect.scoped)

const { dropped, found, grown, late, waiting, written } = await Effect.runPromise(program)
const expected = perSecond * seconds
console.log(
  `${written.toLocaleString("en-US")} transitions in ${seconds} s, ${found.toLocaleString("en-US")} of them in the database`
)
console.log(
  `${dropped} dropped, at most ${waiting.toLocaleString("en-US")} waiting, ${(grown / 1e6).toFixed(1)} MB more memory afterwards`
)
if (late > 0) console.log(`the machine was too slow for the rate in ${late} of ${seconds * 10} steps`)
const met = written === expected && found === expected && dropped === 0 && grown < 20e6
console.log(met ? "met: no transition is lost, and memory is bounded" : "MISSED")
process.exitCode = met ? 0 : 1
