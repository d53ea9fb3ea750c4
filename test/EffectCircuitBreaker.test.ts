import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { CircuitBreaker as Effects } from "effect/persistence"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Tenant, Trip } from "effect-fuse"
import * as EffectCircuitBreaker from "effect-fuse/EffectCircuitBreaker"

const key = "https://a.test"
const policies = BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "10 seconds" } })
const services = EffectCircuitBreaker.layer("http").pipe(
  Layer.provideMerge(BreakerStore.layerMemory),
  Layer.provideMerge(Layer.orDie(policies))
)
const breaker = Effects.CircuitBreaker
const execute = <A, E, R>(self: Effect.Effect<A, E, R>) => breaker.use((one) => one.execute(self, { key }))
const fail = Effect.ignore(execute(Effect.fail("down")))
const state = breaker.use((one) => one.state(key))
const rejection = Effect.flip(execute(Effect.void))

describe("Effect's own CircuitBreaker service, on our circuits", () => {
  it.effect("opens, rejects with Effect's error, probes and closes", () =>
    Effect.gen(function* () {
      yield* fail
      assert.deepStrictEqual(yield* state, { _tag: "Closed", key })
      yield* fail
      const error = yield* rejection
      assert.instanceOf(error, Effects.CircuitBreakerError)
      assert.deepStrictEqual(error.reason, new Effects.CircuitOpen({ key, retryAfter: Duration.seconds(10) }))
      assert.deepStrictEqual(yield* state, {
        _tag: "Open",
        key,
        retryAfter: Duration.seconds(10),
        consecutiveOpenings: 1
      })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* execute(Effect.succeed("up")), "up")
      assert.strictEqual((yield* state)._tag, "Closed")
    }).pipe(Effect.provide(services))
  )

  it.effect("rejects while others probe, and when a probe took too long", () =>
    Effect.gen(function* () {
      yield* fail
      yield* fail
      yield* TestClock.adjust("10 seconds")
      const probe = yield* Effect.forkChild(Effect.flip(execute(Effect.never)), { startImmediately: true })
      assert.deepStrictEqual(yield* state, { _tag: "HalfOpen", key, probing: true, consecutiveOpenings: 1 })
      const busy = yield* rejection
      assert.deepStrictEqual(busy.reason, new Effects.CircuitHalfOpen({ key }))
      yield* TestClock.adjust("30 seconds")
      const given = yield* Fiber.join(probe)
      assert.strictEqual(given.reason._tag, "CircuitOpen")
    }).pipe(Effect.provide(services))
  )

  it.effect("reads exits by the classifiers of its callers, retryAfter included", () =>
    Effect.gen(function* () {
      const one = yield* breaker
      const classify = (exit: Exit.Exit<string, string>) =>
        Exit.isSuccess(exit) && exit.value === "slow down"
          ? Effects.failure({ retryAfter: "1 minute" })
          : Effects.ignored
      for (let i = 0; i < 3; i++) yield* Effect.ignore(one.execute(Effect.fail("mine"), { key, classify }))
      assert.strictEqual((yield* state)._tag, "Closed")
      for (let i = 0; i < 2; i++)
        yield* one.execute(Effect.succeed("slow down"), { key, classify: (exit) => Effect.succeed(classify(exit)) })
      const open = yield* state
      assert.deepStrictEqual(open._tag === "Open" && open.retryAfter, Duration.minutes(1))
    }).pipe(Effect.provide(services))
  )

  it.effect("leaves the error of a probe inside the call, of another key, what it is", () =>
    Effect.gen(function* () {
      const inner = CircuitBreaker.protect(Effect.never, "http", { key: "inner" })
      yield* CircuitBreaker.open("http", { key: "inner", for: "1 second" })
      yield* TestClock.adjust("1 second")
      const call = yield* Effect.forkChild(Effect.flip(execute(inner)), { startImmediately: true })
      yield* TestClock.adjust("30 seconds")
      const error = yield* Fiber.join(call)
      assert.strictEqual(error._tag, "CircuitOpen")
      assert.deepInclude(error, { key: "inner", reason: "ProbeTimedOut" })
    }).pipe(Effect.provide(services))
  )

  it.effect("leaves the rejection of a circuit inside the call what it is", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("inner", { reason: "drill" })
      const inner = Effect.void.pipe(CircuitBreaker.protect("inner"))
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* Effect.flip(execute(inner)))._tag, "CircuitOpen")
      assert.strictEqual((yield* state)._tag, "Closed")
    }).pipe(Effect.provide(services))
  )

  it.effect("runs the call with the services of its caller, and keeps the tenant", () =>
    Effect.gen(function* () {
      const other = yield* Effect.provide(
        execute(
          Effect.fail("down").pipe(CircuitBreaker.protect("inside"), Effect.ignore, Effect.andThen(CircuitBreaker.list))
        ),
        Layer.fresh(BreakerStore.layerMemory)
      )
      assert.deepStrictEqual(
        other.map(({ circuit }) => circuit),
        ["inside"]
      )
      yield* Tenant.within(execute(Effect.void), "acme")
      const here = yield* CircuitBreaker.list
      assert.deepStrictEqual(
        here.map(({ key }) => key),
        [key, `acme/${key}`]
      )
    }).pipe(Effect.provide(services))
  )

  it.effect("emits its transitions as Effect's events, and only those of its name", () =>
    Effect.gen(function* () {
      const one = yield* breaker
      const heard = yield* Effect.forkChild(Stream.runCollect(Stream.take(one.transitions, 7)), {
        startImmediately: true
      })
      yield* CircuitBreaker.open("elsewhere")
      yield* CircuitBreaker.open("http", { key })
      yield* TestClock.adjust("10 seconds")
      yield* execute(Effect.void)
      yield* CircuitBreaker.isolate("http", { key })
      yield* CircuitBreaker.release("http", { key })
      yield* CircuitBreaker.disable("http", { key })
      yield* CircuitBreaker.isolate("http", { key })
      const moves = (yield* Fiber.join(heard)).map(({ from, to }) => `${from} ${to}`)
      assert.deepStrictEqual(moves, [
        "Closed Open",
        "Open HalfOpen",
        "HalfOpen Closed",
        "Closed Open",
        "Open HalfOpen",
        "HalfOpen Closed",
        "Closed Open"
      ])
    }).pipe(Effect.provide(services))
  )

  it.effect("ends its transitions with its scope, and not with that of the store, for late subscribers too", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const own = Effects.CircuitBreaker
      const one = Context.get(yield* Layer.buildWithScope(EffectCircuitBreaker.layer("http"), scope), own)
      const seen: Array<string> = []
      const slow = Stream.runForEach(one.transitions, ({ from, to }) =>
        Effect.andThen(
          Effect.sleep("1 second"),
          Effect.sync(() => seen.push(`${from} ${to}`))
        )
      )
      const reading = yield* Effect.forkDetach(slow, { startImmediately: true })
      yield* CircuitBreaker.open("http", { key })
      yield* TestClock.adjust("10 seconds")
      yield* one.execute(Effect.void, { key })
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 minute")
      assert.isDefined(reading.pollUnsafe(), "the stream has not ended")
      assert.deepStrictEqual(seen, ["Closed Open", "Open HalfOpen", "HalfOpen Closed"])
      yield* CircuitBreaker.open("http", { key })
      const late = yield* Effect.forkDetach(Stream.runCollect(one.transitions), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(late.pollUnsafe(), Exit.succeed([]))
    }).pipe(Effect.provide(services))
  )

  it.effect("guards an HttpClient by withCircuitBreaker, which stays as it is", () =>
    Effect.gen(function* () {
      let requests = 0
      const down = HttpClient.make((request) => {
        requests++
        return Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 503 })))
      })
      const client = HttpClient.withCircuitBreaker(down, { breaker: yield* breaker })
      for (let i = 0; i < 2; i++) yield* client.get(`${key}/items`)
      const error = yield* Effect.flip(client.get(`${key}/items`))
      assert.strictEqual(error._tag, "CircuitBreakerError")
      assert.strictEqual(requests, 2)
      assert.strictEqual((yield* CircuitBreaker.inspect("http", { key })).totals.rejected, 1)
    }).pipe(Effect.provide(services))
  )

  it.effect("a call that is interrupted is Ignored, a defect is a Failure", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 3; i++) {
        const running = yield* Effect.forkChild(execute(Effect.never), { startImmediately: true })
        yield* Fiber.interrupt(running)
      }
      assert.strictEqual((yield* state)._tag, "Closed")
      for (let i = 0; i < 2; i++) {
        const exit = yield* Effect.exit(execute(Effect.die("broken")))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      }
      assert.strictEqual((yield* state)._tag, "Open")
    }).pipe(Effect.provide(services))
  )

  it("names invalid options", () => {
    assert.throws(() => EffectCircuitBreaker.layer(""), /EffectCircuitBreaker.layer: name: expected a text/)
    const wrong = { probes: 0 }
    assert.throws(() => EffectCircuitBreaker.layer("http", { policy: wrong }), /policy.probes: expected a whole number/)
  })
})
