/**
 * A server loses most of its workers. A breaker without a limit admits all calls or rejects all calls. With `limit`, the circuit admits the
 * number of calls that the server can still answer.
 */
import { Deferred, Effect, Layer, Logger, Random } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"

const perSecond = 100
const seconds = 60

/** A server with a queue. It keeps working for callers that have stopped waiting. */
const makeServer = () => {
  const queue: Array<Deferred.Deferred<string>> = []
  const server = { workers: 6, busy: 0, call: Effect.succeed("") as Effect.Effect<string> }
  const work: Effect.Effect<void> = Effect.suspend(() => {
    const next = server.busy < server.workers ? queue.shift() : undefined
    if (next === undefined) return Effect.void
    server.busy++
    const done = Effect.suspend(() => {
      server.busy--
      return Effect.andThen(Deferred.succeed(next, "ok"), work)
    })
    return Effect.asVoid(Effect.forkDetach(Effect.andThen(Effect.sleep("40 millis"), done), { startImmediately: true }))
  })
  server.call = Effect.flatMap(Deferred.make<string>(), (answer) => {
    queue.push(answer)
    return Effect.andThen(work, Deferred.await(answer))
  })
  return server
}

const play = (policy: BreakerPolicy.Input) =>
  Effect.gen(function* () {
    const server = makeServer()
    let answered = 0
    const call = server.call.pipe(
      Resilience.timeout("1 second"),
      CircuitBreaker.protect("search"),
      Effect.tap(() => Effect.sync(() => answered++)),
      Effect.ignore
    )
    const run = Effect.gen(function* () {
      for (let i = 0; i < perSecond; i++) {
        yield* Effect.forkDetach(call, { startImmediately: true })
        yield* TestClock.adjust(1_000 / perSecond)
      }
    })
    yield* Effect.repeat(run, { times: 9 })
    server.workers = 2
    answered = 0
    yield* Effect.repeat(run, { times: seconds - 1 })
    const { limit } = yield* CircuitBreaker.inspect("search")
    return { answered: Math.round(answered / seconds), limit }
  }).pipe(
    Effect.provide(BreakerPolicy.layer({ default: policy })),
    Effect.provide(Layer.fresh(BreakerStore.layerMemory)),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([])),
    Random.withSeed("limit")
  )

const breaker = await Effect.runPromise(play({ cooldown: "5 seconds" }))
const limited = await Effect.runPromise(play({ limit: true }))
console.log(`the server can answer 50 calls a second, of ${perSecond}`)
console.log(`a breaker: ${breaker.answered} a second`)
console.log(`a breaker with a limit: ${limited.answered} a second, ${limited.limit} at once`)
