import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, Schema } from "effect"
import { BreakerEvent, BreakerStore, CircuitBreaker, type CircuitOpen } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { fromBody, toBody } from "../src/store/codec.ts"
import { alteredText, runs, unprintableInLines } from "./support/garbage.ts"

// Texts from files, stores and other programs can have any content.

const cause = { why: "Tripped", detail: "it failed", actor: null }
const closed = { _tag: "Closed", since: -1_000, openings: 2, openFor: 1_000, rampUntil: 500 }
const open = {
  _tag: "Open",
  since: -1_000,
  until: 60_000,
  openings: 1,
  outage: { since: -1_000, at: 1_700_000_000_000, openings: 1 },
  cause
}
const lease = { id: 7, until: 50 }
const halfOpen = {
  _tag: "HalfOpen",
  since: 10,
  openings: 1,
  openFor: 5,
  outage: { since: -1_000, at: 1_700_000_000_000, openings: 1 },
  cause,
  successes: 0,
  failures: 0,
  ignored: 0,
  leases: [lease]
}
const isolated = { _tag: "Isolated", since: 0, until: null, reason: "drill", actor: "ann", under: open }
const states = [closed, open, halfOpen, isolated, { ...isolated, _tag: "Disabled", until: 5, under: closed }]

const quiet = Logger.layer([])
const memory = Layer.mergeAll(BreakerStore.layerMemory, quiet)

/** Returns the error message, if any. The message must be printable, and the exit must have no defect. */
const said = <A, E extends { readonly message: string }>(exit: Exit.Exit<A, E>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
  const { message } = Cause.squash(exit.cause) as E
  assert.notMatch(message, unprintableInLines)
  assert.isBelow(message.length, 2_000)
  return message
}

describe("The body of a record, whatever is written in it,", () => {
  const provenance = { why: "Tripped", detail: "it failed", actor: null, policy: "abc", process: "p~1" }
  const bodies = alteredText(states.map((state) => ({ v: 1, state, ...provenance })))
  for (const at of [0, 1.7e12, -1e308, Number.MAX_VALUE, Infinity, Number.NaN]) {
    it.prop(
      `is nothing, or a state that can be written again, for a clock that says ${at}`,
      [bodies],
      ([body]) => {
        const found = fromBody(body, at)
        if (found === undefined) return
        assert.isFalse(Number.isNaN(found.circuit.since))
        const again = fromBody(toBody(found.circuit, 0, found.provenance), 0)
        assert.strictEqual(again?.circuit._tag, found.circuit._tag)
      },
      runs(`body ${at}`, 250)
    )
  }
})

describe("A text to be imported", () => {
  const circuits = states.map((state, i) => ({ circuit: `c${i}`, ...(i % 2 === 0 ? {} : { key: "k" }), state }))
  const texts = alteredText([
    { version: 1, at: 1_000, circuits },
    ...[0, -1e308, 1e308].flatMap((at) => circuits.map((one) => ({ version: 1, at, circuits: [one] })))
  ])

  it.effect.prop(
    "is imported, and its circuits can be inspected, called, measured and exported; or the error names the fault and nothing is changed",
    [texts],
    ([text]) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(BreakerStore.importAll(text))
        const message = said(exit)
        const circuits = yield* CircuitBreaker.list
        if (message !== undefined) {
          assert.match(message, /^importAll: /)
          return assert.strictEqual(circuits.length, 0)
        }
        const again = Effect.flatMap(BreakerStore.exportAll, (json) =>
          Effect.provide(BreakerStore.importAll(json), memory, { local: true })
        )
        assert.isUndefined(said(yield* Effect.exit(again)))
        for (const { circuit, key } of circuits) {
          const called = yield* Effect.exit(
            CircuitBreaker.protect(Effect.succeed("ok"), circuit, key === undefined ? {} : { key })
          )
          said(called as Exit.Exit<string, CircuitOpen.CircuitOpen>)
        }
        assert.isUndefined(said(yield* Effect.exit(again)))
      }).pipe(Effect.provide(memory, { local: true })),
    runs("import", 250)
  )

  it.effect.prop(
    "is imported into a fleet, where its records can be read and listed; or the error names the fault",
    [texts],
    ([text]) =>
      Effect.gen(function* () {
        const records = new Map<string, { epoch: number; body: string; age: number }>()
        const store: Parameters<typeof Operator.list>[0] = {
          exchange: ({ swaps }) =>
            Effect.sync(() => {
              const swapped = swaps.map(({ body, circuit }) => {
                const record = { epoch: (records.get(circuit)?.epoch ?? 0) + 1, body, age: 0 }
                records.set(circuit, record)
                return { swapped: true, record }
              })
              const store = { time: 0, live: 1, liveFor: 0, life: "life", head: 0 }
              return { _tag: "Done", ...store, rollCalls: [], casts: [], swaps: swapped }
            }),
          load: (circuits) =>
            Effect.sync(() => ({ time: 0, records: circuits.map((circuit) => records.get(circuit)) })),
          page: () => {
            const changes = [...records].map(([circuit, record]) => ({
              circuit,
              epoch: record.epoch,
              listed: true,
              record
            }))
            const store = { time: 0, live: 1, life: "life", epoch: 1, trimmed: 0 }
            return Effect.succeed({ ...store, listed: changes.length, changes })
          },
          digests: undefined as never,
          changes: undefined as never
        }
        const message = said(yield* Effect.exit(Operator.importAll(store, text)))
        if (message !== undefined) return assert.strictEqual(records.size, 0)
        const { circuits } = yield* Operator.list(store)
        assert.isTrue(circuits.every(({ _tag }) => _tag === "Known"))
        const exported = yield* Operator.exportAll(store)
        assert.deepStrictEqual(exported.unreadable, [])
        for (const { key, name } of circuits) {
          for (const act of [Operator.open, Operator.isolate, Operator.release, Operator.reset]) {
            said(yield* Effect.exit(act(store, name, key === undefined ? {} : { key })))
          }
        }
      }),
    runs("operator import", 250)
  )
})

describe("An imported text with times beyond all dates", () => {
  const far = [-Number.MAX_VALUE, -1e308, -1e16, 1e16, 1e308]
  const moments = far.flatMap((at) => far.map((since) => [at, since] as const))
  for (const state of [closed, open, isolated]) {
    it.effect(`is taken on and exported again: ${state._tag}`, () =>
      Effect.forEach(moments, ([at, since]) => {
        const text = JSON.stringify({ version: 1, at, circuits: [{ circuit: "api", state: { ...state, since } }] })
        const moved = Effect.andThen(BreakerStore.importAll(text), BreakerStore.exportAll)
        return Effect.map(Effect.exit(Effect.provide(moved, memory, { local: true })), said)
      })
    )
  }
})

describe("An event", () => {
  const transition = {
    _tag: "Transition",
    circuit: "api",
    key: "k",
    from: "Closed",
    to: "Open",
    why: "Tripped",
    at: 1,
    epoch: 2,
    openings: 1,
    retryAfterMillis: null,
    detail: "d",
    actor: "a",
    process: "p",
    action: "x",
    scope: "fleet",
    mode: "enforce",
    outage: { at: 1, openings: 2 },
    downForMillis: 7,
    lastedMillis: 5,
    counts: { calls: 1, failures: 1, slow: 0, streak: 1 }
  }
  const ignored = { _tag: "ProbesIgnored", circuit: "api", at: 1, epoch: 2, probes: 10 }
  const Event = Schema.fromJsonString(BreakerEvent.BreakerEvent)
  const decode = Schema.decodeUnknownExit(Event)
  const encode = Schema.encodeSync(Event)
  it.prop(
    "from another program decodes to an event that can be encoded, or to an error that names the problem",
    [alteredText([transition, ignored])],
    ([text]) => {
      const exit = decode(text)
      if (said(exit) === undefined && Exit.isSuccess(exit)) {
        const written = encode(exit.value)
        assert.strictEqual(encode(Schema.decodeSync(Event)(written)), written)
      }
    },
    runs("events", 800)
  )
})
