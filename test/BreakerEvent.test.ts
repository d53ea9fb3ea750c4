import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { Circuit } from "effect-fuse/core"

const roundTrip = (event: BreakerEvent.BreakerEvent): BreakerEvent.BreakerEvent => {
  const wire = JSON.stringify(Schema.encodeSync(BreakerEvent.BreakerEvent)(event))
  return Schema.decodeUnknownSync(BreakerEvent.BreakerEvent)(JSON.parse(wire))
}

const transition: BreakerEvent.Transition = {
  _tag: "Transition",
  circuit: "api",
  from: "Closed",
  to: "Open",
  why: "Tripped",
  at: 1_700_000_000_000,
  epoch: 1,
  openings: 1,
  retryAfterMillis: 30_000,
  scope: "local",
  mode: "enforce"
}

const whole = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 50 }))

/** The events there are, with the numbers that there can be. */
const events = Schema.Union([
  Schema.Struct({
    ...BreakerEvent.Transition.fields,
    at: whole,
    epoch: whole,
    openings: whole,
    retryAfterMillis: Schema.NullOr(whole)
  }),
  Schema.Struct({ ...BreakerEvent.ProbesIgnored.fields, at: whole, epoch: whole, probes: whole })
])

describe("an event", () => {
  it.prop("loses nothing through JSON", [events], ([event]) => {
    assert.deepStrictEqual(roundTrip(event), event)
  })

  it("can be any transition of the state machine, for any of its reasons", () => {
    for (const [from, moves] of Object.entries(Circuit.edges)) {
      for (const [to, whys] of Object.entries(moves)) {
        for (const why of [...whys, "Imported"]) {
          const move = { ...transition, from, to, why } as BreakerEvent.Transition
          assert.deepStrictEqual(roundTrip(move), move)
        }
      }
    }
  })

  it("can have any scope and any mode", () => {
    for (const scope of ["local", "fleet"] as const) {
      for (const mode of ["enforce", "observe"] as const) {
        assert.deepStrictEqual(roundTrip({ ...transition, scope, mode }), { ...transition, scope, mode })
      }
    }
  })

  it("keeps every optional field of a transition, and of ignored probes", () => {
    const counts = { calls: 9, failures: 3, slow: 2, streak: 1 }
    const override = { state: "Isolated", since: 1, until: 9, reason: "drill", actor: "ann" } as const
    const known = {
      ...{ key: "k", detail: "x", actor: "ann", process: "p-1", action: "d-1", lastedMillis: 5, counts },
      ...{ outage: { at: 7, openings: 2 }, downForMillis: 8, overrides: [override], ended: [override] }
    }
    assert.deepStrictEqual(roundTrip({ ...transition, ...known }), { ...transition, ...known })
    const probes = { _tag: "ProbesIgnored", circuit: "api", key: "k", at: 1, epoch: 2, probes: 10 } as const
    assert.deepStrictEqual(roundTrip(probes), probes)
  })

  it("omits missing fields from JSON", () => {
    assert.deepStrictEqual(Schema.encodeSync(BreakerEvent.BreakerEvent)(transition), { ...transition })
    assert.deepStrictEqual(roundTrip({ ...transition, key: "", detail: "x", actor: "me", retryAfterMillis: null }), {
      ...transition,
      key: "",
      detail: "x",
      actor: "me",
      retryAfterMillis: null
    })
  })

  it.each([
    [{ why: "Boredom" }, "why"],
    [{ to: "Ajar" }, "to"],
    [{ at: "now" }, "at"],
    [{ key: 5 }, "key"],
    [{ scope: "world" }, "scope"],
    [{ mode: "maybe" }, "mode"],
    [{ counts: { calls: 1 } }, "failures"],
    [{ outage: { at: 7 } }, "openings"],
    [{ overrides: [{ state: "Isolated", since: 1 }] }, "reason"],
    [{ ended: [{ state: "Open", since: 1, reason: "drill" }] }, "state"],
    [{ _tag: "Call" }, "_tag"]
  ])("is refused with %o", (wrong, field) => {
    assert.throws(() => Schema.decodeUnknownSync(BreakerEvent.BreakerEvent)({ ...transition, ...wrong }), field)
  })
})

describe("what circuits do", () => {
  const policy: BreakerPolicy.Input = { trip: Trip.consecutive(1), cooldown: "1 second" }

  it.effect("is published in events that survive JSON unchanged, each with its reason and its own epoch", () =>
    Effect.gen(function* () {
      const seen: Array<BreakerEvent.BreakerEvent> = []
      const listener = yield* Effect.forkChild(
        Stream.runForEach(CircuitBreaker.events, (event) => Effect.sync(() => seen.push(event)))
      )
      yield* Effect.yieldNow
      const fail = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api", { key: "k" }))
      const succeed = CircuitBreaker.protect(Effect.void, "api", { key: "k" })
      const target = { key: "k", reason: "maintenance", actor: "ann" }
      yield* fail
      yield* TestClock.adjust("1 second")
      yield* fail
      yield* TestClock.adjust("1 second")
      yield* succeed
      yield* CircuitBreaker.isolate("api", target)
      yield* CircuitBreaker.disable("api", { ...target, for: "1 second" })
      yield* CircuitBreaker.release("api", target)
      yield* CircuitBreaker.open("api", target)
      yield* CircuitBreaker.close("api", target)
      yield* CircuitBreaker.reset("api", target)
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(listener)
      const whys =
        "Tripped CooldownOver ProbeFailed CooldownOver Recovered Isolated Disabled Released OpenedByHand ClosedByHand Reset"
      assert.deepStrictEqual(
        seen.map((event) => (event._tag === "Transition" ? event.why : event._tag)),
        whys.split(" ")
      )
      for (const event of seen) {
        assert.deepStrictEqual(roundTrip(event), event)
        assert.strictEqual(event.key, "k")
      }
      const epochs = seen.map((event) => event.epoch)
      assert.deepStrictEqual(
        epochs,
        [...new Set(epochs)].toSorted((a, b) => a - b)
      )
      const byHand = seen.slice(5)
      for (const event of byHand) assert.deepInclude(event, { detail: "maintenance", actor: "ann" })
      assert.deepInclude(seen[0], { from: "Closed", to: "Open", at: 0, openings: 1, retryAfterMillis: 1_000 })
      assert.deepInclude(seen[2], { from: "HalfOpen", to: "Open", at: 1_000, openings: 2 })
      assert.deepInclude(seen[5], { to: "Isolated", retryAfterMillis: null })
    }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer({ default: policy })))
  )

  it.effect("is notified of ten Ignored probes in a row", () =>
    Effect.gen(function* () {
      const listener = yield* CircuitBreaker.events.pipe(
        Stream.filter((event) => event._tag === "ProbesIgnored"),
        Stream.take(1),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* Effect.yieldNow
      yield* Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api"))
      yield* TestClock.adjust("1 second")
      const ignored = CircuitBreaker.protect(Effect.fail("?"), "api", { isIgnored: () => true })
      const exits = yield* Effect.replicateEffect(Effect.exit(ignored), 10)
      assert.isTrue(exits.every(Exit.isFailure))
      const [event] = yield* Fiber.join(listener)
      assert.deepStrictEqual(event, { _tag: "ProbesIgnored", circuit: "api", at: 1_000, epoch: 2, probes: 10 })
      assert(event !== undefined)
      assert.deepStrictEqual(roundTrip(event), event)
    }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer({ default: policy })))
  )
})
