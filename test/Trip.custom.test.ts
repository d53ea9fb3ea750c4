import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

const timeOfDay = Trip.custom(
  "timeOfDay",
  ({ streak, time }, { day, night }) => streak >= (new Date(time).getUTCHours() < 6 ? night : day),
  { parameters: Schema.Struct({ day: Schema.Int, night: Schema.Int, note: Schema.optionalKey(Schema.String) }) }
)
const plain = Trip.custom("plain", ({ streak }) => streak >= 3)
const trips = [timeOfDay, plain]

const data = (value: unknown): never => JSON.parse(JSON.stringify(value)) as never
const fail = (name: string, policy?: BreakerPolicy.Input) =>
  Effect.exit(CircuitBreaker.protect(Effect.fail("down"), name, { policy }))

/** After how many failures a circuit opens, and what its cause says. */
const opensAfter = (name: string, policy?: BreakerPolicy.Input) =>
  Effect.gen(function* () {
    for (let failures = 1; failures <= 20; failures++) {
      yield* fail(name, policy)
      const { cause, state } = yield* CircuitBreaker.inspect(name)
      if (state === "Open") return [failures, cause?.detail]
    }
    return "it does not open"
  })

const provided = <A, E>(
  program: Effect.Effect<A, E, BreakerStore.BreakerStore>,
  policies: Layer.Layer<never, BreakerPolicy.PolicyError> = BreakerPolicy.layer({ trips })
) => program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(policies), Effect.provide(Logger.layer([])))

describe("A custom trip with parameters", () => {
  it.effect("has the parameters of each use: in code, in data, inside other trips, and beside a call", () =>
    provided(
      Effect.gen(function* () {
        const said = (day: number, night: number) => `custom trip "timeOfDay" {"day":${day},"night":${night}}`
        assert.deepStrictEqual(yield* opensAfter("code"), [4, said(9, 4)])
        assert.deepStrictEqual(yield* opensAfter("data"), [2, said(9, 2)])
        assert.deepStrictEqual(yield* opensAfter("nested"), [5, `(${said(9, 5)}, and 5 failures in a row (limit 1))`])
        const beside = { trip: Trip.any(Trip.consecutive(18), Trip.custom("timeOfDay", { day: 7, night: 6 })) }
        assert.deepStrictEqual(yield* opensAfter("beside", beside), [6, said(7, 6)])
        assert.deepStrictEqual(yield* opensAfter("plain", { trip: Trip.custom("plain") }), [3, 'custom trip "plain"'])
        yield* CircuitBreaker.reset("beside")
        yield* TestClock.adjust("12 hours")
        assert.deepStrictEqual(yield* opensAfter("beside", beside), [7, said(7, 6)])
      }),
      BreakerPolicy.layer({
        trips,
        breakers: {
          code: { trip: Trip.custom("timeOfDay", { day: 9, night: 4 }) },
          data: data({ trip: { _tag: "Custom", name: "timeOfDay", parameters: { day: 9, night: 2 } } }),
          nested: { trip: Trip.all(Trip.custom("timeOfDay", { day: 9, night: 5 }), Trip.consecutive(1)) }
        }
      })
    )
  )

  it.effect("sees the window of the use, or else that of the declaration", () => {
    const seen: Array<number> = []
    const trip = Trip.custom(
      "counts",
      ({ calls }, { name }) => {
        if (name === "log") seen.push(calls)
        return false
      },
      { parameters: Schema.Struct({ name: Schema.String }), over: 2 }
    )
    return provided(
      Effect.gen(function* () {
        for (let i = 0; i < 4; i++) yield* fail("two")
        for (let i = 0; i < 4; i++) yield* fail("three")
        assert.deepStrictEqual(seen, [1, 2, 2, 2, 1, 2, 3, 3])
      }),
      BreakerPolicy.layer({
        trips: [trip],
        breakers: {
          two: { trip: Trip.custom("counts", { name: "log" }) },
          three: { trip: Trip.custom("counts", { name: "log" }, { over: 3 }) }
        }
      })
    )
  })

  it.effect("is the same policy at two places that give the same parameters, and another one with others", () =>
    provided(
      Effect.gen(function* () {
        const at = (night: number) => ({ trip: Trip.custom("timeOfDay", { day: 9, night }) })
        yield* fail("api", at(3))
        assert.deepStrictEqual(yield* fail("api", at(3)), Exit.fail("down"))
        assert.include(String(yield* fail("api", at(4))), "they differ in trip")
      })
    )
  )

  it.effect("takes on parameters that a reload brings", () => {
    let night = 9
    const load = Effect.sync(() => ({ trips, default: { trip: Trip.custom("timeOfDay", { day: 9, night }) } }))
    return provided(
      Effect.gen(function* () {
        assert.strictEqual(yield* BreakerPolicy.reload, false)
        yield* fail("api")
        night = 2
        assert.strictEqual(yield* BreakerPolicy.reload, true)
        assert.deepStrictEqual(yield* opensAfter("api"), [1, 'custom trip "timeOfDay" {"day":9,"night":2}'])
      }),
      BreakerPolicy.layerReloading(load)
    )
  })

  it.effect("stays as it is beside a call if a reload takes the declaration away", () => {
    let declared = trips
    return provided(
      Effect.gen(function* () {
        const policy = { trip: Trip.custom("timeOfDay", { day: 9, night: 2 }) }
        yield* fail("api", policy)
        declared = []
        assert.strictEqual(yield* BreakerPolicy.reload, true)
        assert.lengthOf(yield* CircuitBreaker.list, 1)
        const exit = yield* fail("api", policy)
        assert.include(String(exit), "policy.trip.name: expected the name of a custom trip (none is registered)")
      }),
      BreakerPolicy.layerReloading(Effect.sync(() => ({ trips: declared })))
    )
  })
})

describe("What is wrong with a custom trip", () => {
  const use = (trip: unknown): unknown => ({ trips, breakers: { api: { trip } } })
  const named = (parameters: unknown): unknown => use({ _tag: "Custom", name: "timeOfDay", parameters })
  const cases: ReadonlyArray<readonly [what: string, settings: unknown, path: string, message: RegExp]> = [
    ["another type", named({ day: 5, night: "ten" }), "breakers.api.trip.parameters.night", /ten/],
    ["a missing one", named({ day: 5 }), "breakers.api.trip.parameters.night", /expected a value, got nothing/],
    ["none", use({ _tag: "Custom", name: "timeOfDay" }), "breakers.api.trip.parameters.day", /got nothing/],
    ["an unknown one", named({ day: 5, night: 2, nite: 3 }), "breakers.api.trip.parameters.nite", /./],
    ["no object", named(5), "breakers.api.trip.parameters", /expected an object with the parameters.*got 5/],
    [
      "parameters of a trip that has none",
      use({ _tag: "Custom", name: "plain", parameters: { day: 1 } }),
      "breakers.api.trip.parameters",
      /declared without parameters/
    ],
    ["another name", use(Trip.custom("tmeOfDay")), "breakers.api.trip.name", /\(timeOfDay, plain\), got "tmeOfDay"/],
    ["a declaration without a predicate", { trips: [Trip.custom("a")] }, "trips.0.predicate", /expected a function/],
    ["a declaration with parameters", { trips: [{ ...plain, parameters: {} }] }, "trips.0.parameters", /the schema/],
    ["a schema that is none", { trips: [{ ...plain, schema: 5 }] }, "trips.0.schema", /expected a Schema/],
    [
      "a declaration that is no custom trip",
      { trips: [Trip.consecutive(1)] },
      "trips.0",
      /custom trip, got "Consecutive"/
    ]
  ]
  it.effect.each(cases)("%s: the error names the field", ([, settings, path, message]) =>
    Effect.gen(function* () {
      const { problems } = yield* Effect.flip(Layer.build(BreakerPolicy.layer(settings as BreakerPolicy.Settings)))
      assert.deepStrictEqual(
        problems.map((one) => one.path),
        path.endsWith(".day") ? [path, path.replace("day", "night")] : [path]
      )
      assert.match(problems[0]?.message ?? "", message)
    }).pipe(Effect.scoped)
  )

  const beside: ReadonlyArray<readonly [what: string, trip: Trip.Input, message: string]> = [
    [
      "a name that is not registered",
      Trip.custom("other"),
      'policy.trip.name: expected the name of a custom trip (timeOfDay, plain), got "other"'
    ],
    [
      "a wrong parameter",
      Trip.any(Trip.custom("timeOfDay", { day: 1, night: "x" })),
      "policy.trip.trips.0.parameters.night: "
    ]
  ]
  it.effect.each(beside)("beside a call, %s is a defect of the call that names the field", ([, trip, message]) =>
    provided(
      Effect.gen(function* () {
        const exit = yield* fail("api", { trip })
        const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(defect, BreakerPolicy.PolicyError)
        assert.include(String(defect), message)
        assert.deepStrictEqual(yield* fail("api"), Exit.fail("down"))
      })
    )
  )

  it("beside a call, everything else that is wrong throws before the call runs", () => {
    const policy = { trip: Trip.any(Trip.custom("timeOfDay"), Trip.consecutive(0)) }
    assert.throws(() => CircuitBreaker.protect("api", { policy }), /policy.trip.trips.1.failures/)
    assert.isTrue(Result.isFailure(BreakerPolicy.decode({ trip: Trip.custom("timeOfDay") })))
  })
})
