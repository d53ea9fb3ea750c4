/** A pool has three replicas. One replica is ten times slower than the others, but does not fail. A hedge repeats the remaining slow calls. */
import { Effect, Fiber, Logger, Random } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitPool, Resilience } from "effect-fuse"

const make = (choose: CircuitPool.Choice) =>
  CircuitPool.make(choose, { members: { eu: 20, us: 20, asia: 200 }, choose })

/** Answers a request after the time that the member takes, in milliseconds. */
const query = (pool: CircuitPool.CircuitPool<number>) =>
  CircuitPool.call(pool, (millis) => Effect.as(Effect.sleep(millis), millis))

const hedge = Resilience.hedge({ after: "p95" }) // once, as a constant: it measures the calls

/** 100 calls a second for 20 seconds. Returns how many of them were slow. */
const load = (call: ReturnType<typeof query>) =>
  Effect.gen(function* () {
    const fibers = []
    for (let i = 0; i < 2_000; i++) {
      fibers.push(yield* Effect.forkChild(call))
      yield* TestClock.adjust("10 millis")
    }
    yield* TestClock.adjust("1 second")
    const answers = yield* Effect.forEach(fibers, Fiber.join)
    return answers.filter((millis) => millis > 100).length
  })

const program = Effect.gen(function* () {
  const turns = make("roundRobin")
  console.log(`roundRobin: ${yield* load(query(turns))} of 2000 calls were slow`)

  const fastest = make("fastest")
  const slow = yield* load(query(fastest))
  console.log(`fastest: ${slow < 20 ? "less than 20" : "many"} of 2000 calls were slow`)
  const members = yield* CircuitPool.inspect(fastest)
  for (const { circuit, latency, leftOut, name } of members) {
    console.log(`${name}: ${String(latency)}, ${leftOut === undefined ? "in use" : "left out"}, ${circuit.state}`)
  }

  // Each copy goes to another member, and the copies are at most 5 % of the calls.
  const hedged = yield* load(hedge(query(fastest)))
  console.log(`fastest with a hedge: ${hedged < 20 ? "less than 20" : "many"} of 2000 calls were slow`)
})

await Effect.runPromise(
  program.pipe(
    Random.withSeed("example"),
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
