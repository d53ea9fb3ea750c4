import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect, Schema, TxRef } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import * as Operator from "effect-fuse/Operator"
import { fieldsOf } from "../src/breaker/options.ts"
import { type ActionName, operatorActions, take } from "../src/core/operatorActions.ts"
import { fromBody, toBody } from "../src/store/codec.ts"
import { byHand } from "./support/byHand.ts"
import { fleet, load, pause, write } from "./support/fleet.ts"

const actions = Object.keys(operatorActions) as ReadonlyArray<ActionName>
const { close, disable, isolate, open, release, reset } = Operator
const onStores = { close, disable, isolate, open, release, reset }
const states: ReadonlyArray<Circuit.State> = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"]

const pick = <const A extends ReadonlyArray<unknown>>(...of: A) =>
  Arbitrary.map(Arbitrary.schema(Schema.Literals(of.map((_, i) => i))), (i) => of[i] as A[number])

// ---- States -------------------------------------------------------------------------------------------------------

// Small numbers, so that an override or an opening often ends at the very moment of the action.
const ago = pick(0, 1, 100, 5_000, 60_000)
const lasts = pick(1, 100, 5_000, 60_000, 3_600_000)
const openings = pick(1, 2, 7)
const actors = pick(undefined, "ann", "bob")

const override = Arbitrary.all({
  tag: pick("Isolated", "Disabled"),
  ago,
  lasts: pick(1, 100, 5_000, 60_000, 3_600_000, Infinity),
  reason: pick("deploy", "drill"),
  actor: actors
})
const seeds = Arbitrary.all({
  ago,
  lasts,
  openings,
  outageAgo: ago,
  rampMillis: pick(0, 100, 10_000),
  beneath: pick("Closed", "Open", "HalfOpen"),
  override,
  others: Arbitrary.array(override, { maxLength: 2 })
})
type Started = Effect.Success<ReturnType<typeof fleet>>
type Seed = typeof seeds extends Arbitrary.Arbitrary<infer A> ? A : never

/** A circuit in a state, at a time. */
const circuitAt = (state: Circuit.State, seed: Seed, now: number): Circuit.Circuit => {
  const since = now - seed.ago
  const { lasts, openings } = seed
  const rampUntil = seed.rampMillis === 0 ? 0 : since + seed.rampMillis
  const closed: Circuit.Closed = { _tag: "Closed", epoch: 0, since, openings, openFor: lasts, rampUntil }
  const outageSince = since - seed.outageAgo
  const outage = { since: outageSince, at: outageSince, openings }
  const cause: Circuit.Cause = { why: "Tripped", detail: "5 failures in a row", actor: undefined }
  const open: Circuit.Open = { _tag: "Open", epoch: 0, since, until: since + lasts, openings, outage, cause }
  const halfOpen = Circuit.probe({ ...open, until: since }, since, BreakerPolicy.defaults)
  const plain = { Closed: closed, Open: open, HalfOpen: halfOpen }
  if (state === "Closed" || state === "Open" || state === "HalfOpen") return plain[state]
  return [{ ...seed.override, tag: state }, ...seed.others].reduce<Circuit.Circuit>(
    (circuit, { actor, ago, lasts, reason, tag }) =>
      Circuit.force(circuit, tag, now - ago, { until: now - ago + lasts, reason, actor }),
    plain[seed.beneath]
  )
}

// ---- The two faces ------------------------------------------------------------------------------------------------

/** What an operator sees of an action, by whichever face. */
interface Seen {
  readonly state: Circuit.State
  readonly ended: ReadonlyArray<BreakerEvent.Override>
  /** The circuit after the action, as a record would have it. */
  readonly circuit: Circuit.Circuit
  /** The announced transition; `undefined` if nothing changed. */
  readonly transition: Omit<BreakerEvent.Transition, "epoch" | "scope" | "process" | "action"> | undefined
}

const transitionOf = (event: BreakerEvent.Transition | undefined): Seen["transition"] => {
  if (event === undefined) return undefined
  const { action: _action, epoch: _epoch, process: _process, scope: _scope, ...transition } = event
  return transition
}

const provenance = {
  why: "Tripped",
  detail: "before",
  actor: "before",
  policy: undefined,
  process: "p",
  at: 0
} as const

/** A circuit as a record has it: with times relative to `now`, and without its epoch, which each side counts for itself. */
const recorded = (circuit: Circuit.Circuit, now: number): Circuit.Circuit =>
  fromBody(toBody(Circuit.expire(circuit, now), now, provenance), 0)?.circuit ?? assert.fail("unreadable")

const inProcess = (action: ActionName, circuit: Circuit.Circuit, options: CircuitBreaker.ByHandFor) =>
  Effect.gen(function* () {
    const registry = yield* BreakerStore.BreakerStore
    const live = yield* Effect.withFiber((fiber) =>
      Effect.succeed(registry.reach("api", undefined, registry.callerOf(fiber.context)))
    )
    yield* TxRef.set(live.control, circuit)
    const events: Array<BreakerEvent.Transition> = []
    registry.runtime.observers.add((event) => {
      if (event._tag === "Transition" && event.why !== "Expired") events.push(event)
    })
    const answer: Circuit.State | CircuitBreaker.Released = yield* CircuitBreaker[action]("api", options)
    assert.isAtMost(events.length, 1)
    return {
      state: typeof answer === "string" ? answer : answer.state,
      ended: typeof answer === "string" ? (events[0]?.ended ?? []) : answer.ended,
      circuit: recorded(live.control.value, yield* Clock.currentTimeMillis),
      transition: transitionOf(events[0])
    } satisfies Seen
  }).pipe(Effect.provide(BreakerStore.layerMemory))

const onStore = (action: ActionName, circuit: Circuit.Circuit, options: CircuitBreaker.ByHandFor) =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const store = yield* MemoryStore.make
    yield* write(store, "api", { body: toBody(circuit, now, provenance) })
    const { ended, state, transition } = yield* onStores[action](store, "api", options)
    const record = fromBody((yield* load(store, "api"))?.body ?? "", now) ?? assert.fail("unreadable")
    const { actor, detail, why } = record.provenance
    // The record says the same as the announced transition, and is not written if there is none.
    const said = transition ?? provenance
    assert.deepStrictEqual([why, detail, actor], [said.why, said.detail, said.actor])
    const after = { circuit: recorded(record.circuit, now), transition: transitionOf(transition) }
    return { state, ended, ...after } satisfies Seen
  })

const given = {
  state: pick(...states),
  seed: seeds,
  reason: pick(undefined, "", "deploy", "two\nlines \u001b[31m", "Isolated by hand"),
  actor: actors,
  millis: pick(undefined, 1, 60_000)
}

describe.each(actions)("%s", (action) => {
  it.effect.prop(
    "has the same effect in a process and on a store, in each state and with all options",
    given,
    ({ actor, millis, reason, seed, state }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("1 hour")
        const circuit = circuitAt(state, seed, yield* Clock.currentTimeMillis)
        const options = {
          ...(reason === undefined ? {} : { reason }),
          ...(actor === undefined ? {} : { actor }),
          ...(millis === undefined || !("for" in fieldsOf(action)) ? {} : { for: millis })
        }
        assert.deepStrictEqual(yield* inProcess(action, circuit, options), yield* onStore(action, circuit, options))
      }),
    { arbitrary: { runs: 300, seed: `action ${action}` } }
  )

  it.prop(
    "changes what its description says",
    given,
    ({ seed, state, ...options }) => {
      const now = 1_000_000
      const before = Circuit.expire(circuitAt(state, seed, now), now)
      const after = take(action, options).next(before, now, { at: now, rules: BreakerPolicy.defaults })
      const ofOverrides = {
        set: () => assert.isTrue(Circuit.isForced(after)),
        ended: () => assert.isEmpty(Circuit.overrides(after)),
        kept: () => assert.deepStrictEqual(Circuit.overrides(after), Circuit.overrides(before))
      }
      const ofBeneath = {
        changed: () => assert.strictEqual(Circuit.outage(after) !== undefined, action === "open"),
        kept: () => assert.deepStrictEqual(Circuit.outage(after), Circuit.outage(before))
      }
      const { beneath, overrides } = operatorActions[action]
      ofOverrides[overrides]()
      ofBeneath[beneath]()
    },
    { arbitrary: { runs: 300, seed: `description ${action}` } }
  )

  // A process of a fleet writes its actions to the store, with the words that an operator outside of the fleet writes.
  const before: ReadonlyArray<"open" | "isolate" | "disable" | undefined> = [undefined, "open", "isolate", "disable"]
  it.effect.each(before)("of a process is the same in the store as of an operator, after: %s", (first) =>
    Effect.gen(function* () {
      const known = (act: (started: Started) => Effect.Effect<unknown, unknown>) =>
        Effect.gen(function* () {
          const started = yield* fleet(1)
          if (first !== undefined) yield* onStores[first](started.store, "api", { for: "1 hour", reason: "first" })
          yield* pause(10_000)
          yield* act(started)
          yield* pause()
          const found = yield* Operator.inspect(started.store, "api")
          if (found?._tag !== "Known") return found
          const { epoch: _epoch, process: _process, since: _since, ...rest } = found
          return rest
        }).pipe(Effect.provide(TestClock.layer()))
      const inProcess = yield* known(({ at }) => at(0).run(byHand(action, "api", { actor: "ann" })))
      const onStore = yield* known(({ store }) => onStores[action](store, "api", { actor: "ann" }))
      assert.deepStrictEqual(inProcess, onStore)
    })
  )
})

it.each([
  ["isolate", "Isolated by hand", "until it is released"],
  ["disable", "Disabled by hand", "until it is released"],
  ["open", "opened by hand", "the cooldown of the default policy"],
  ["release", undefined, "no time"],
  ["close", undefined, "no time"],
  ["reset", undefined, "no time"]
] as const)("%s has by default the reason %j, and lasts %s", (action, reason, duration) => {
  const millis = { "until it is released": Infinity, "no time": undefined }
  const cooldown = BreakerPolicy.defaults.cooldown
  const { defaultMillis } = operatorActions[action]
  assert.strictEqual(defaultMillis, duration in millis ? millis[duration as keyof typeof millis] : cooldown)
  assert.strictEqual("for" in fieldsOf(action), defaultMillis !== undefined)
  assert.strictEqual(take(action, {}).detail, reason)
  assert.strictEqual(take(action, { reason: "two\nlines" }).detail, "two\nlines")
})
