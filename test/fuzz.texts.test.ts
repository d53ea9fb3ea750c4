import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Console, Effect, Layer, Logger, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { BreakerMetrics, BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Trip } from "effect-fuse"
import { shortId } from "../src/audit/trailRows.ts"
import { circuitId } from "../src/store/codec.ts"
import { either, name, oneOf, optional, runs, text, unprintable } from "./support/garbage.ts"

// Names, keys, reasons and errors come from outside: where they are written down they stay what they are, in their place.

const policies = (more: BreakerPolicy.Input = {}) =>
  Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1), cooldown: "10 seconds", ...more } }))

interface Life {
  readonly name: string
  readonly key: string | undefined
  readonly reason: string
  readonly actor: string
  readonly error: string
  readonly detail: string
}

const life: Arbitrary.Arbitrary<Life> = Arbitrary.all({
  name,
  key: optional(text),
  reason: text,
  actor: text,
  error: text,
  detail: text
})

/** All that a circuit may have to say. */
const live = ({ actor, detail, error, key, name, reason }: Life) =>
  Effect.gen(function* () {
    const where = key === undefined ? {} : { key }
    const call = <E>(ends: Effect.Effect<unknown, E>, more: object = {}) =>
      Effect.exit(CircuitBreaker.protect(ends, name, { ...where, ...more }))
    const failing = Effect.fail(new Error(error))
    yield* call(failing)
    const rejected = yield* Effect.flip(CircuitBreaker.protect(Effect.void, name, where)).pipe(Effect.option)
    yield* TestClock.adjust("11 seconds")
    yield* call(failing, { classify: () => Outcome.failure({ detail }) })
    yield* TestClock.adjust("1 minute")
    yield* call(Effect.void)
    yield* call(failing, { classify: () => assert.fail(detail) })
    if ((key?.length ?? 0) <= 512) {
      const by = { ...where, reason, actor }
      for (const act of [
        CircuitBreaker.isolate,
        CircuitBreaker.release,
        CircuitBreaker.disable,
        CircuitBreaker.open,
        CircuitBreaker.close,
        CircuitBreaker.reset
      ]) {
        yield* act(name, by)
      }
    }
    return rejected
  })

/** A console that keeps what is written. */
const keeping = (lines: Array<string>) =>
  Object.fromEntries(
    Object.keys(globalThis.console).map((method) => [
      method,
      (...said: ReadonlyArray<unknown>) => lines.push(said.map(String).join(" "))
    ])
  ) as unknown as Console.Console

describe("What circuits log", () => {
  const own = Logger.make(({ cause, message }) =>
    cause.reasons.length > 0 ? "" : [message].flat().map(String).join(" ")
  )
  const formats: Readonly<Record<string, Logger.Logger<unknown, string>>> = {
    simple: Logger.formatSimple,
    logfmt: Logger.formatLogFmt,
    json: Logger.formatJson,
    own
  }

  it.effect.prop(
    "is one line of any log, which nothing in a name, a key, a reason or an error ends, colours or hides in",
    [life, oneOf(Object.keys(formats))],
    ([one, format]) =>
      Effect.gen(function* () {
        const written: Array<string> = []
        const lines = Logger.map(formats[format] ?? own, (line) => written.push(line))
        // What a user's own code throws is shown with its stack, on as many lines as it has.
        const withoutCauses = Logger.make<unknown, void>((options) => {
          if (options.cause.reasons.length === 0) lines.log(options)
        })
        yield* live(one).pipe(
          Effect.provide(
            Layer.provideMerge(BreakerStore.layerMemory, Layer.merge(policies(), Logger.layer([withoutCauses]))),
            { local: true }
          )
        )
        assert.isAtLeast(written.length, 3)
        for (const line of written) {
          assert.notMatch(line, unprintable)
          if (format === "json") JSON.parse(line)
        }
      }),
    runs("logs", 200)
  )

  it.effect.prop(
    "is so on a terminal, too",
    [life],
    ([one]) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        yield* live(one).pipe(
          Effect.provide(
            Layer.provideMerge(
              BreakerStore.layerMemory,
              Layer.merge(policies(), Logger.layer([Logger.consolePretty({ colors: false })]))
            ),
            { local: true }
          ),
          Effect.provideService(Console.Console, keeping(lines))
        )
        assert.isAtLeast(lines.length, 3)
        // Below a line are its annotations and, where it has one, the stack of an error of the user's.
        for (const line of lines.filter((line) => /Circuit /.test(line)))
          assert.notMatch(line.split(/\n/)[0] ?? "", unprintable)
      }),
    runs("pretty", 60)
  )
})

describe("What circuits measure", () => {
  const label = /(\w+)="((?:[^"\\\n]|\\[\\"n])*)"/g
  const sample = /^(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/
  const unescape = (value: string) => value.replaceAll(/\\([\\"n])/g, (_, char: string) => (char === "n" ? "\n" : char))

  it.effect.prop(
    "can be read by Prometheus line by line, each series once and of the name that it is of",
    [Arbitrary.array(life, { minLength: 1, maxLength: 3 }), oneOf([true, false])],
    ([lives, keys]) =>
      Effect.gen(function* () {
        for (const one of lives) yield* live(one)
        const circuits = yield* CircuitBreaker.list
        yield* PrometheusMetrics.format()
        const page = yield* PrometheusMetrics.format()
        const series = new Set<string>()
        const names = new Set<string>()
        for (const line of page.split("\n")) {
          if (line === "" || /^# (HELP|TYPE) /.test(line)) continue
          const [, metric = "", labels = "", value = ""] =
            sample.exec(line) ?? assert.fail(`not a sample: ${JSON.stringify(line)}`)
          assert.isFalse(Number.isNaN(Number(value.replace("+Inf", "Infinity"))), line)
          assert.isFalse(series.has(`${metric} ${labels}`), `twice: ${line}`)
          series.add(`${metric} ${labels}`)
          for (const [, key, text = ""] of labels.matchAll(label)) if (key === "name") names.add(unescape(text))
        }
        assert.deepStrictEqual([...names].sort(), [...new Set(circuits.map(({ circuit }) => circuit))].sort())
        assert.isAbove(series.size, 10)
        if (keys) assert.include(page, 'key="')
      }).pipe(
        Effect.provide(
          Layer.mergeAll(BreakerMetrics.layer({ keys })).pipe(
            Layer.provideMerge(BreakerStore.layerMemory),
            Layer.provideMerge(Layer.merge(policies(), Logger.layer([])))
          ),
          { local: true }
        ),
        Effect.provideService(Metric.MetricRegistry, new Map())
      ),
    runs("metrics", 50)
  )
})

describe("What circuits write on spans", () => {
  it.effect.prop(
    "is what it is about, as it is: attributes have no lines that could be broken",
    [life],
    ([one]) =>
      Effect.gen(function* () {
        const spans: Array<ReadonlyMap<string, unknown>> = []
        const spanned = Effect.flatMap(Effect.currentSpan, (span) => Effect.sync(() => spans.push(span.attributes)))
        yield* Effect.andThen(live(one), spanned).pipe(
          Effect.withSpan("request"),
          Effect.provide(Layer.provideMerge(BreakerStore.layerMemory, Layer.merge(policies(), Logger.layer([]))), {
            local: true
          })
        )
        const [attributes] = spans
        assert.strictEqual(attributes?.get("circuit_breaker.name"), one.name)
        for (const value of attributes?.values() ?? []) assert.include(["string", "number", "boolean"], typeof value)
      }),
    runs("spans", 60)
  )
})

describe("Names and keys", () => {
  type Id = readonly [name: string, key: string | undefined]
  const id = Arbitrary.all([name, optional(text)])
  /** What might be taken for another: written as that one is in a store, or with the separator elsewhere. */
  const alike = oneOf<(id: Id) => Id>([
    ([name, key]) => [circuitId(name, key), undefined],
    ([name, key]) => [`${name}/${key ?? ""}`, undefined],
    ([name, key]) => [name, key === undefined ? "" : undefined],
    ([name, key]) => [circuitId(name, undefined), key],
    ([name, key]) => [name.slice(0, -1) || "a", `${name.slice(-1)}${key ?? ""}`],
    ([name, key]) => [name.normalize("NFC").toLowerCase(), key],
    ([name, key]) => [`${name} `, key]
  ])
  const two = either(
    Arbitrary.all([id, id]),
    Arbitrary.map(Arbitrary.all([id, alike]), ([one, to]): readonly [Id, Id] => [one, to(one)])
  )
  it.prop(
    "of two circuits make two keys of a store and two of a trail, and no pattern and no separator",
    [two],
    ([[[a, ka], [b, kb]]]) => {
      const [one, other] = [circuitId(a, ka), circuitId(b, kb)]
      assert.match(one, /^[A-Za-z0-9._%-]+(\/[A-Za-z0-9._%-]*)?$/)
      const same = a === b && ka === kb
      assert.strictEqual(one === other, same)
      assert.strictEqual(shortId(one) === shortId(other), same)
      assert.isAtMost(shortId(one).length, 1_500)
      assert.match(shortId(one), /^[A-Za-z0-9._%~/-]+$/)
    },
    runs("keys", 1_000)
  )
})
