import { assert, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Window } from "effect-fuse/core"

/** One call, `at` the time it ended. */
interface Call {
  readonly at: number
  readonly failed: boolean
  readonly slow: boolean
  readonly weight: number
}

// All weights are sums of powers of two, so that adding them in another order gives the same number.
const weights = Arbitrary.schema(Schema.Literals([1, 1, 1, 0.25, 0.5, 2, 3.75, 1024]))

const step = Arbitrary.all({
  // Shares of a window's length: within a bucket, to its edges, past some, past all. Some go back.
  advance: Arbitrary.schema(
    Schema.Literals([0, 0.01, 0.0999, 0.1, 0.101, 0.35, 0.9, 0.9999, 1, 1.1, 7, -0.05, -0.5, -3])
  ),
  failed: Arbitrary.schema(Schema.Boolean),
  slow: Arbitrary.schema(Schema.Boolean),
  weight: weights,
  look: Arbitrary.schema(Schema.Boolean)
})
const steps = Arbitrary.array(step, { maxLength: 60 })
const starts = Arbitrary.schema(Schema.Literals([0, 1, 123_456.789, 86_400_000]))
const millis = Arbitrary.schema(Schema.Literals([1, 10, 100, 999, 1000, 3333, 60_000]))
const lengths = Arbitrary.schema(Schema.Literals([1, 2, 3, 5, 8, 13, 40]))
const runs = { arbitrary: { runs: 400, size: 60, seed: "window" } }

const sum = (calls: ReadonlyArray<Call>): Window.Counts => ({
  calls: calls.length,
  failures: calls.filter((call) => call.failed).length,
  slow: calls.filter((call) => call.slow).length,
  weight: calls.reduce((total, call) => total + (call.failed ? call.weight : 0), 0)
})

const record = (window: Window.Window, call: Call) =>
  window.record(call.at, call.failed, call.slow, call.failed ? call.weight : 0)

/** The calls of generated steps, each with the latest time that a window was told of up to then. */
const play = (
  start: number,
  unit: number,
  steps: ReadonlyArray<Omit<Call, "at"> & { readonly advance: number; readonly look: boolean }>,
  on: (call: Call, latest: number, look: boolean) => void
) => {
  let now = start
  let latest = 0
  for (const { advance, look, ...call } of steps) {
    now = Math.max(0, now + advance * unit)
    latest = Math.max(latest, now)
    on({ ...call, at: now }, latest, look)
  }
  return latest
}

it.prop(
  "a window over calls equals the last n of a plain list",
  { length: lengths, steps },
  ({ length, steps }) => {
    const window = Window.make({ _tag: "Calls", calls: length })
    const all: Array<Call> = []
    play(0, 100, steps, (call, latest) => {
      record(window, call)
      all.push(call)
      assert.deepStrictEqual(window.counts(latest), sum(all.slice(-length)))
    })
  },
  runs
)

const bucket = (at: number, length: number) => Math.floor((at * 10) / length)

it.prop(
  "a window over time equals a plain list from which whole buckets are dropped, however often it is read",
  { start: starts, length: millis, steps },
  ({ length, start, steps }) => {
    const window = Window.make({ _tag: "Time", millis: length })
    const all: Array<Call> = []
    const inSight = (now: number) => sum(all.filter((call) => bucket(call.at, length) > bucket(now, length) - 10))
    const latest = play(start, length, steps, (call, latest, look) => {
      record(window, call)
      all.push({ ...call, at: latest })
      if (look) assert.deepStrictEqual(window.counts(call.at), inSight(latest))
    })
    for (const later of [0, 0.05, 0.1, 0.5, 0.95, 1]) {
      const now = latest + later * length
      assert.deepStrictEqual(window.counts(now), inSight(now))
    }
  },
  runs
)

it.prop(
  "a window over calls that is resized on the way equals the last calls that ever fitted",
  { first: lengths, second: lengths, third: lengths, before: steps, between: steps, after: steps },
  ({ after, before, between, first, second, third }) => {
    let kept: Array<Call> = []
    let window = Window.make({ _tag: "Calls", calls: first })
    const run = (length: number, steps: typeof before) => {
      const resized = Window.resize(window, { _tag: "Calls", calls: length }, 0)
      assert.deepStrictEqual(window.counts(0), sum(kept), "the old window is left as it was")
      window = resized
      kept = kept.slice(-length)
      assert.deepStrictEqual(window.counts(0), sum(kept))
      play(0, 100, steps, (call) => {
        record(window, call)
        kept = [...kept, call].slice(-length)
        assert.deepStrictEqual(window.counts(0), sum(kept))
      })
    }
    run(first, before)
    run(second, between)
    run(third, after)
  },
  runs
)

it.prop(
  "a window over time that is resized keeps each bucket at the time it began, as far as the new length reaches",
  { start: starts, length: millis, next: millis, steps, wait: Arbitrary.schema(Schema.Literals([0, 0.07, 0.4, 1])) },
  ({ length, next, start, steps, wait }) => {
    let window = Window.make({ _tag: "Time", millis: length })
    const all: Array<Call> = []
    const latest = play(start, length, steps, (call, latest) => {
      record(window, call)
      all.push({ ...call, at: latest })
    })
    const now = latest + wait * length
    const kept = all
      .filter((call) => bucket(call.at, length) > bucket(now, length) - 10)
      .map((call) => ({
        ...call,
        // The bucket in which the old bucket began; a window of the same length is left alone.
        bucket: Math.floor((bucket(call.at, length) * length) / next)
      }))
    const inSight = (now: number) => sum(kept.filter((call) => call.bucket > bucket(now, next) - 10))
    window = Window.resize(window, { _tag: "Time", millis: next }, now)
    assert.deepStrictEqual(window.over, { _tag: "Time", millis: next })
    for (const later of [0, 0.05, 0.1, 0.5, 0.95, 1]) {
      const then = now + later * next
      assert.deepStrictEqual(window.counts(then), inSight(then))
    }
  },
  runs
)
