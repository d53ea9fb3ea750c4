import { assert } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker } from "effect-fuse"
import { call, capture, expectState, fail, inspect, type Line, pass, quick, reject, scenario } from "./support/verbs.ts"

const waiting = (key?: string) =>
  Effect.forkChild(CircuitBreaker.awaitClosed("api", { key }), { startImmediately: true })

scenario("awaitClosed sees the expiry of an override that began while it waited", quick, function* () {
  yield* fail()
  const fiber = yield* waiting()
  yield* CircuitBreaker.isolate("api", { for: "1 minute" })
  yield* CircuitBreaker.close("api")
  yield* TestClock.adjust("59 seconds")
  assert.isUndefined(fiber.pollUnsafe())
  yield* TestClock.adjust("1 second")
  assert.isDefined(fiber.pollUnsafe())
})

scenario("awaitClosed of a key sees an override of its name that began while it waited", quick, function* () {
  yield* fail({ key: "k" })
  const fiber = yield* waiting("k")
  yield* CircuitBreaker.isolate("api")
  yield* CircuitBreaker.close("api", { key: "k" })
  yield* TestClock.adjust("1 second")
  assert.isUndefined(fiber.pollUnsafe())
  yield* CircuitBreaker.release("api")
  yield* TestClock.adjust("1 second")
  assert.isDefined(fiber.pollUnsafe())
})

scenario(
  "awaitClosed sleeps once for an override, and not again when an opening is left beneath it",
  quick,
  function* () {
    yield* CircuitBreaker.open("api", { for: "1 hour" })
    yield* CircuitBreaker.isolate("api", { for: "1 minute" })
    const clock = yield* Clock.Clock
    let sleeps = 0
    const counting = Object.assign(Object.create(clock), {
      sleep: (duration: Duration.Duration) => {
        sleeps++
        return clock.sleep(duration)
      }
    })
    const fiber = yield* Effect.forkChild(
      Effect.provideService(CircuitBreaker.awaitClosed("api"), Clock.Clock, counting),
      { startImmediately: true }
    )
    yield* TestClock.adjust("1 minute")
    for (let i = 0; i < 100; i++) yield* Effect.yieldNow
    assert.strictEqual(sleeps, 1)
    yield* CircuitBreaker.close("api")
    yield* Effect.yieldNow
    yield* TestClock.adjust("1 second")
    assert.isDefined(fiber.pollUnsafe())
  }
)

scenario(
  "a dependency that is Disabled by its name blocks no key",
  { breakers: { api: { dependsOn: ["db"] } } },
  function* () {
    yield* fail({ name: "db", key: "k" })
    yield* reject({ key: "k" })
    yield* CircuitBreaker.disable("db")
    yield* pass({ name: "db", key: "k" })
    yield* pass({ key: "k" })
  }
)

scenario("of an override on a name and one on its key, the one that rejects wins", quick, function* () {
  yield* CircuitBreaker.disable("api", { key: "open" })
  yield* CircuitBreaker.isolate("api")
  yield* reject({ key: "open" })
  yield* CircuitBreaker.isolate("api", { key: "shut" })
  yield* CircuitBreaker.disable("api")
  yield* reject({ key: "shut" })
  yield* reject({ key: "any" })
  yield* CircuitBreaker.release("api")
  yield* CircuitBreaker.disable("api")
  yield* reject({ key: "shut" })
  yield* pass({ key: "any" })
})

scenario(
  "a policy that observes rejects nobody, not even who is isolated",
  { ...quick, mode: "observe" },
  function* () {
    yield* CircuitBreaker.isolate("api")
    yield* pass()
    assert.strictEqual((yield* inspect()).totals.wouldReject, 1)
  }
)

const unprintable: ReadonlyArray<readonly [what: string, error: unknown]> = [
  [
    "whose toJSON gives nothing and that has no prototype",
    Object.assign(Object.create(null), { toJSON: () => undefined })
  ],
  [
    "whose toString throws",
    {
      toJSON: () => undefined,
      toString: () => {
        throw new Error("no")
      }
    }
  ],
  ["whose message is a symbol", Object.assign(new Error(), { message: Symbol("x") })]
]
for (const [what, error] of unprintable) {
  scenario(`an error ${what} is a failure like any other`, quick, function* () {
    const exit = yield* Effect.exit(call(Effect.fail(error)))
    assert.isTrue(Exit.hasFails(exit) && !Exit.hasDies(exit))
    yield* expectState("Open")
  })
}

for (const [what, classify] of [
  ["at once", () => undefined as never],
  ["as an effect", () => Effect.succeed({ _tag: "Fine" } as never)]
] as const) {
  scenario(
    `a classifier that gives no outcome ${what} is reported, and the exit read as by default`,
    quick,
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const lines: Array<Line> = []
      const exit = yield* capture(lines, Effect.exit(CircuitBreaker.protect(Effect.succeed(1), "api", { classify })))
      assert.deepStrictEqual(exit, Exit.succeed(1))
      assert.isTrue(lines.some(({ message }) => message.includes("classifier")))
      yield* expectState("Closed")
    }
  )
}

let checks = 0
const probe = {
  check: Effect.suspend(() => {
    checks++
    return Effect.fail("down")
  }),
  schedule: Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(3)])
}
scenario("a health check whose schedule ended begins anew with the next opening", { ...quick, probe }, function* () {
  checks = 0
  yield* fail()
  yield* TestClock.adjust("10 seconds")
  assert.strictEqual(checks, 3)
  yield* fail()
  yield* TestClock.adjust("10 seconds")
  assert.strictEqual(checks, 6)
})

const dying = Schedule.modifyDelay(Schedule.exponential("1 second"), () => Effect.die(new Error("broken")))
scenario(
  "a cooldown schedule that dies is reported, and maxCooldown is used",
  { ...quick, cooldown: dying },
  function* () {
    const lines: Array<Line> = []
    yield* capture(lines, fail())
    assert.isTrue(lines.some(({ level }) => level === "Error"))
    assert.strictEqual(Duration.toMinutes((yield* inspect()).retryAfter), 10)
  }
)

scenario("the message of a rejection is one line without control characters, whatever its key", quick, function* () {
  const key = "a\n\u009b31m\u2028\u202e"
  yield* CircuitBreaker.isolate("api", { key, reason: "b\n\u001b[31m" })
  assert.notMatch((yield* reject({ key })).message, /[\p{Cc}\p{Cf}\u2028\u2029]/u)
})

scenario("a transaction that is undone does not undo what a circuit learnt inside it", quick, function* () {
  yield* Effect.exit(Effect.tx(Effect.andThen(Effect.ignore(fail()), Effect.fail("undo"))))
  yield* expectState("Open")
})
