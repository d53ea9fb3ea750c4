import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, Layer, Logger, Stream } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitOpen, type SharedStore, Trip } from "effect-fuse"
import { circuitId } from "../src/store/codec.ts"
import { byHand } from "./support/byHand.ts"
import { alteredText, anything, either, name, number, oneOf, runs, text, unprintable } from "./support/garbage.ts"

// A store may answer anything, and announce anything: calls are protected all the same.

const cause = { why: "Tripped", detail: "d\u001b[31m\n", actor: "\u202e" }
const closed = { _tag: "Closed", since: -5, openings: 2, openFor: 1_000, rampUntil: 500 }
const open = {
  _tag: "Open",
  since: -5,
  until: 60_000,
  openings: 1,
  outage: { since: -1_000, at: 1_700_000_000_000, openings: 1 },
  cause
}
const halfOpen = {
  _tag: "HalfOpen",
  since: 1,
  openings: 1,
  openFor: 5,
  outage: { since: -1_000, at: 1_700_000_000_000, openings: 1 },
  cause,
  successes: 0,
  ignored: 0,
  leases: [{ id: 7, until: 50 }]
}
const isolated = { _tag: "Isolated", since: 0, until: null, reason: "r\u0007", actor: "a", under: open }
const body = alteredText(
  [closed, open, halfOpen, isolated].map((state) => ({
    v: 1,
    state,
    ...cause,
    policy: null,
    process: "p",
    at: 1_700_000_000_000
  }))
)

const answer = <A>(sound: Arbitrary.Arbitrary<A>): Arbitrary.Arbitrary<() => unknown> =>
  either(
    Arbitrary.map(sound, (one) => () => Effect.succeed(one)),
    either(
      Arbitrary.map(either(anything, text), (one) => () => Effect.fail(one)),
      oneOf([
        () => Effect.die("\u001b[31mdead\n"),
        () => Effect.interrupt,
        () => assert.fail("\u202e"),
        () => undefined,
        () => Effect.never
      ])
    )
  )
const stored = Arbitrary.map(
  Arbitrary.all({ epoch: either(number, oneOf([1, 2, 5])), body, age: either(number, oneOf([0])) }),
  (one) => one
)
const record = either(stored, either(stored, oneOf([undefined])))
const tally = Arbitrary.all({
  voters: number,
  sums: Arbitrary.array(number, { maxLength: 12 }),
  asked: either(number, oneOf([undefined])),
  rolled: either(number, oneOf([undefined])),
  abstained: number
})
const circuit = either(
  oneOf(["api"]),
  either(
    Arbitrary.map(name, (one) => circuitId(one, undefined)),
    text
  )
)
const epoch = either(number, oneOf([0, 1, 2, 5]))
const rollCall = Arbitrary.all({ seq: epoch, prev: epoch, circuit, epoch, box: text })
const change = either(
  Arbitrary.map(Arbitrary.all({ circuit, epoch, body }), (one) => ({ _tag: "Record", ...one })),
  either(
    Arbitrary.map(Arbitrary.all({ circuit, epoch, box: text }), (one) => ({ _tag: "Inquiry", ...one })),
    Arbitrary.map(rollCall, (one) => ({ _tag: "RollCall", ...one }))
  )
)
const few = { minLength: 1, maxLength: 3 }
const done = Arbitrary.all({
  _tag: oneOf(["Done"]),
  time: number,
  live: either(number, oneOf([1])),
  liveFor: either(number, oneOf([60_000])),
  head: epoch,
  rollCalls: Arbitrary.array(rollCall, { maxLength: 3 }),
  casts: Arbitrary.array(Arbitrary.all({ record, tally: either(tally, oneOf([undefined])) }), few),
  swaps: Arbitrary.array(Arbitrary.all({ swapped: oneOf([true, false]), record }), few)
})
const late = Arbitrary.all({ _tag: oneOf(["Late"]), time: number })
const changed = Arbitrary.all({ circuit, epoch, listed: oneOf([true, false]), record })

const store = Arbitrary.map(
  Arbitrary.all({
    exchange: Arbitrary.array(answer(either(done, either(done, late))), few),
    load: Arbitrary.array(answer(Arbitrary.all({ time: number, records: Arbitrary.array(record, few) })), few),
    page: Arbitrary.array(
      answer(
        Arbitrary.all({
          time: number,
          live: number,
          epoch,
          trimmed: epoch,
          listed: number,
          changes: Arbitrary.array(changed, { maxLength: 3 })
        })
      ),
      few
    ),
    changes: Arbitrary.array(either(change, either(change, anything)), { maxLength: 5 })
  }),
  ({ changes, ...answers }): SharedStore.SharedStore => {
    const inTurn = (list: ReadonlyArray<() => unknown>) => {
      let asked = 0
      return () => list[asked++ % list.length]?.() as never
    }
    const { exchange, load, page } = answers
    return {
      exchange: inTurn(exchange),
      page: inTurn(page),
      load: inTurn(load),
      digests: inTurn([]),
      changes: Stream.concat(Stream.fromIterable(changes as ReadonlyArray<SharedStore.Change>), Stream.never)
    }
  }
)

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(3), cooldown: "5 millis" } }))

describe("A fleet with a store that gives arbitrary answers", () => {
  it.live.prop(
    "protects calls like processes without a store, and logs each problem on one line",
    [store, either(oneOf(["api"]), name)],
    ([store, name]) => {
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => {
        lines.push([message].flat().map(String).join(" "))
      })
      const shared = Layer.provideMerge(BreakerStore.layerShared(store, { syncInterval: 10 }), policies)
      const loud = Layer.provideMerge(shared, Logger.layer([logger]))
      return Effect.gen(function* () {
        const call = <A, E>(ends: Effect.Effect<A, E>) => Effect.exit(CircuitBreaker.protect(ends, name))
        const sound = (exit: Exit.Exit<unknown, unknown>) => {
          if (Exit.isSuccess(exit)) return
          assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
          const error = Cause.squash(exit.cause)
          assert.isTrue(error === "down" || CircuitOpen.isCircuitOpen(error))
        }
        for (let i = 0; i < 4; i++) sound(yield* call(Effect.fail("down")))
        yield* Effect.sleep(12)
        sound(yield* call(Effect.succeed("ok")))
        for (const act of ["isolate", "release", "open", "reset"] as const) {
          sound(yield* Effect.exit(byHand(act, name, { reason: "r", actor: "a" })))
          sound(yield* call(Effect.succeed("ok")))
        }
        JSON.parse(yield* BreakerStore.exportAll)
        yield* CircuitBreaker.list
        for (const line of lines) assert.notMatch(line, unprintable)
      }).pipe(Effect.provide(loud, { local: true }))
    },
    runs("fleet", 40)
  )
})
