import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { BreakerPolicy, Trip } from "effect-fuse"

/** What is written may come from a file: the types of the input do not protect it. */
const load = (settings: unknown) =>
  BreakerPolicy.Policies.pipe(Effect.provide(BreakerPolicy.layer(settings as BreakerPolicy.Settings)))

const problemsOf = (settings: unknown) => Effect.map(Effect.flip(load(settings)), (error) => error.problems)

const paths = (problems: ReadonlyArray<{ readonly path: string }>) => problems.map((one) => one.path)

const calls = (calls: number) => ({ _tag: "Calls", calls })
const time = (millis: number) => ({ _tag: "Time", millis })
const predicate = () => true

describe("layer", () => {
  it.effect("lays the policies of breakers over the default, and that over the defaults, field by field", () =>
    Effect.gen(function* () {
      const policies = yield* load({
        default: { cooldown: "10 seconds", probes: 2, ramp: "1 second" },
        breakers: { payments: { probes: 3, ramp: undefined }, __proto: {} }
      })
      const common = { ...BreakerPolicy.defaults, cooldown: 10_000, probes: 2, rampMillis: 1_000 }
      assert.deepStrictEqual(policies.get("search"), common)
      assert.deepStrictEqual(policies.get("payments"), { ...common, probes: 3 })
      assert.deepStrictEqual(policies.get("constructor"), common)
    })
  )

  it.effect("names the breaker in which a field is wrong, and reports all of them", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf({
        default: { probes: 0 },
        breakers: { a: { probes: -1 }, b: { cooldown: "soon", tenants: 5 }, c: null },
        trips: [Trip.consecutive(1)],
        brakers: {}
      })
      assert.deepStrictEqual(paths(problems).toSorted(), [
        "brakers",
        "breakers.a.probes",
        "breakers.b.cooldown",
        "breakers.b.tenants",
        "breakers.c",
        "default.probes",
        "trips.0"
      ])
    })
  )

  it.effect("finds a custom trip by its name, with the window it was registered with", () =>
    Effect.gen(function* () {
      const named = { _tag: "Custom", name: "mine" } as const
      const policies = yield* load({
        trips: [Trip.custom("mine", predicate, { over: 7 })],
        default: { trip: Trip.any(Trip.consecutive(2), named) },
        breakers: { a: { trip: named }, b: { trip: { ...named, over: "1 second" } } }
      })
      const found = { _tag: "Custom", name: "mine", predicate, over: calls(7) }
      assert.deepStrictEqual(policies.get("a").trip, found as Trip.Trip)
      assert.deepStrictEqual(policies.get("b").trip, { ...found, over: time(1_000) } as Trip.Trip)
      const { trip } = policies.get("c")
      assert.deepStrictEqual(trip._tag === "Any" ? trip.trips[1] : undefined, found as Trip.Trip)
    })
  )

  it.effect("refuses a custom trip that is not registered, registered twice, or not custom", () =>
    Effect.gen(function* () {
      const unknown = yield* problemsOf({
        trips: [Trip.custom("mine", predicate)],
        default: { trip: { _tag: "Custom", name: "yours" } }
      })
      assert.deepStrictEqual(paths(unknown), ["default.trip.name"])
      assert.include(unknown[0]?.message, "(mine)")
      assert.include(unknown[0]?.message, '"yours"')
      const twice = yield* problemsOf({ trips: [Trip.custom("mine", predicate), Trip.custom("mine", () => false)] })
      assert.deepStrictEqual(paths(twice), ["trips.1.name"])
      assert.include(twice[0]?.message, '"mine"')
      const empty = yield* problemsOf({ trips: [{ _tag: "Custom", name: "mine" }, Trip.any(Trip.consecutive(1))] })
      assert.deepStrictEqual(paths(empty), ["trips.0.predicate", "trips.1"])
    })
  )

  it.effect.each([
    ["itself", { a: ["a"] }, "a", "a -> a"],
    ["one another", { a: ["b"], b: ["a"] }, "a", "a -> b -> a"],
    ["one another in the end", { a: ["x", "b"], b: ["c"], c: ["a"] }, "a", "a -> b -> c -> a"],
    ["others that depend on one another", { a: ["b"], b: ["c"], c: ["b"] }, "b", "b -> c -> b"],
    ["one another, twice over", { a: ["b"], b: ["a"], c: ["d"], d: ["c"] }, "a", "a -> b -> a"],
    ["what depends on them by default", { default: ["x"], x: ["y"] }, "x", "x -> y -> x"],
    ["themselves, as all others do by default", { default: ["x"], x: ["x"] }, "x", "x -> x"]
  ] as ReadonlyArray<[string, Record<string, ReadonlyArray<string>>, string, string]>)(
    "refuses circuits that depend on %s, and shows a circle once",
    ([, { default: dependsOn = [], ...graph }, name, circle]) =>
      Effect.gen(function* () {
        const breakers = Object.fromEntries(Object.entries(graph).map(([name, dependsOn]) => [name, { dependsOn }]))
        assert.deepStrictEqual(yield* problemsOf({ default: { dependsOn }, breakers }), [
          { path: `breakers.${name}.dependsOn`, message: `expected no circle, got ${circle}` }
        ])
      })
  )

  it.effect("takes a default dependency whether or not its own policy names dependencies", () =>
    Effect.gen(function* () {
      const byDefault = { dependsOn: ["db"] }
      for (const breakers of [
        {},
        { db: { probes: 2 }, api: {} },
        { db: { dependsOn: [] }, api: {} },
        { db: { dependsOn: ["disk"] }, disk: { dependsOn: [] } }
      ]) {
        assert.deepStrictEqual((yield* load({ default: byDefault, breakers })).get("api").dependsOn, ["db"])
      }
    })
  )

  it.effect(
    "looks for circles in no more steps than there are dependencies",
    () =>
      Effect.gen(function* () {
        const names = Array.from({ length: 27 }, (_, index) => `b${index}`)
        const breakers = Object.fromEntries(names.map((name, index) => [name, { dependsOn: names.slice(index + 1) }]))
        assert.deepStrictEqual((yield* load({ breakers })).get("b24").dependsOn, ["b25", "b26"])
      }),
    5_000
  )

  it.effect("takes dependencies that meet again without a circle", () =>
    Effect.gen(function* () {
      const breakers = { a: { dependsOn: ["b", "c"] }, b: { dependsOn: ["d"] }, c: { dependsOn: ["d"] } }
      assert.deepStrictEqual((yield* load({ breakers })).get("a").dependsOn, ["b", "c"])
    })
  )

  it.effect("refuses names outside `names`, in breakers and in dependsOn", () =>
    Effect.gen(function* () {
      const names = ["api", "db"]
      const problems = yield* problemsOf({
        names,
        default: { dependsOn: ["dbb"] },
        breakers: { api: { dependsOn: ["db", "bd"] }, apy: { dependsOn: [] } }
      })
      assert.deepStrictEqual(paths(problems).toSorted(), [
        "breakers.api.dependsOn",
        "breakers.apy",
        "default.dependsOn"
      ])
      for (const { message } of problems) assert.include(message, "expected one of api, db")
      const unknown = problems.map(({ message }) => /unknown breaker ("\w+")/.exec(message)?.[1])
      assert.deepStrictEqual(unknown.toSorted(), ['"apy"', '"bd"', '"dbb"'])
      assert.deepStrictEqual((yield* load({ names, breakers: { api: { dependsOn: ["db"] } } })).get("api").dependsOn, [
        "db"
      ])
    })
  )

  it.effect.each([[null], [5], ["x"], [[]]])("refuses %j as settings", ([settings]) =>
    Effect.gen(function* () {
      const problems = yield* problemsOf(settings)
      const message = `expected an object with default, breakers, trips, names, got ${JSON.stringify(settings)}`
      assert.deepStrictEqual(problems, [{ path: "", message }])
    })
  )

  it.effect.each([
    ["default", [5, "x", true, []], "expected an object with trip, slowCall, "],
    ["breakers", [5, "x", true, [], null], "expected an object of policies by name"],
    ["trips", [5, "x", true, {}], "expected a list of custom trips"],
    ["names", [5, "x", true, {}, null], "expected a list"]
  ] as ReadonlyArray<[string, ReadonlyArray<unknown>, string]>)(
    "refuses %s of another shape, beside all else that is wrong",
    ([field, values, expected]) =>
      Effect.gen(function* () {
        for (const value of values) {
          const only = yield* problemsOf({ [field]: value })
          assert.deepStrictEqual(paths(only), [field])
          assert.include(only[0]?.message, expected)
          assert.include(only[0]?.message, `got ${JSON.stringify(value)}`)
          const wrong = { default: { probes: 0 }, breakers: { a: { ramp: -1 } }, trips: [Trip.consecutive(1)] }
          const elsewhere = ["breakers.a.ramp", "default.probes", "trips.0"].filter((path) => !path.startsWith(field))
          assert.deepStrictEqual(
            paths(yield* problemsOf({ ...wrong, [field]: value })).toSorted(),
            [field, ...elsewhere].toSorted()
          )
        }
      })
  )

  it.effect("refuses names and custom trips that are wrong one by one", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf({ names: ["a", "", 7], trips: [Trip.custom("mine", predicate), 5, null] })
      assert.deepStrictEqual(paths(problems).toSorted(), ["names.1", "names.2", "trips.1", "trips.2"])
    })
  )

  it.effect("lets all circuits depend on several by default, which then do not depend on one another", () =>
    Effect.gen(function* () {
      const policies = yield* load({ default: { dependsOn: ["db", "auth"] }, breakers: { auth: { probes: 2 } } })
      assert.deepStrictEqual(policies.get("api").dependsOn, ["db", "auth"])
      assert.deepStrictEqual(policies.get("db").dependsOn, [])
      assert.deepStrictEqual([policies.get("auth").dependsOn, policies.get("auth").probes], [[], 2])
    })
  )

  it.effect.each(["default", "breakers", "trips", "names"])("refuses null as %s", (field) =>
    Effect.gen(function* () {
      assert.include(paths(yield* problemsOf({ [field]: null })), field)
    })
  )

  const circular: Array<unknown> = [Symbol("s")]
  circular.push(circular)
  it.effect.each([
    ["a list with a bigint and a symbol", [5n, Symbol("s")]],
    ["a circular list with a symbol", circular],
    ["an object without a prototype that holds a bigint", Object.assign(Object.create(null), { n: 5n })]
  ])("says what is wrong even with %s", ([, value]) =>
    Effect.gen(function* () {
      assert.include(paths(yield* problemsOf({ default: { probes: value } })), "default.probes")
    })
  )
})
