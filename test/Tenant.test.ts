import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, type Duration, Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Tenant, Trip } from "effect-fuse"

const base: BreakerPolicy.Input = { trip: Trip.consecutive(2) }

const Live = Layer.merge(
  BreakerStore.layerMemory,
  BreakerPolicy.layer({
    default: base,
    breakers: { shared: { tenants: "shared" }, counted: { tenants: "counted" }, separate: { tenants: "separate" } }
  })
)

interface Where {
  readonly tenant?: string | undefined
  readonly key?: string | undefined
}

const inside =
  (tenant: string | undefined) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    tenant === undefined ? self : Tenant.within(self, tenant)

const fail = (name: string, { key, tenant }: Where = {}) =>
  Effect.exit(inside(tenant)(CircuitBreaker.protect(Effect.fail("down"), name, { key })))

const succeed = (name: string, { key, tenant }: Where = {}) =>
  Effect.exit(inside(tenant)(CircuitBreaker.protect(Effect.succeed("up"), name, { key })))

const state = (name: string, { key, tenant }: Where = {}) => inside(tenant)(CircuitBreaker.state(name, { key }))

const trip = (name: string, where: Where) => Effect.replicateEffect(fail(name, where), 2)

const circuits = Effect.map(CircuitBreaker.list, (all) => all.map(({ circuit, key }) => [circuit, key]))

describe("the circuits of tenants", () => {
  it.effect("have separate circuits by default, and separate from the circuit without a tenant", () =>
    Effect.gen(function* () {
      for (const name of ["api", "separate"]) {
        yield* trip(name, { tenant: "acme" })
        assert.strictEqual(yield* state(name, { tenant: "acme" }), "Open")
        assert.strictEqual(yield* state(name, { tenant: "other" }), "Closed")
        assert.strictEqual(yield* state(name), "Closed")
        assert.strictEqual((yield* succeed(name, { tenant: "other" }))._tag, "Success")
        assert.strictEqual((yield* succeed(name))._tag, "Success")
        assert.strictEqual((yield* succeed(name, { tenant: "acme" }))._tag, "Failure")
      }
    }).pipe(Effect.provide(Live))
  )

  it.effect("are one where the policy shares or counts it", () =>
    Effect.gen(function* () {
      for (const name of ["shared", "counted"]) {
        yield* fail(name, { tenant: "acme" })
        yield* fail(name, { tenant: "other" })
        for (const tenant of ["acme", "other", "third", undefined]) {
          assert.strictEqual(yield* state(name, { tenant }), "Open")
          assert.strictEqual((yield* succeed(name, { tenant }))._tag, "Failure")
        }
      }
      assert.deepStrictEqual(yield* circuits, [
        ["shared", undefined],
        ["counted", undefined]
      ])
    }).pipe(Effect.provide(Live))
  )

  it.effect("have the tenant as their key, and a key of one's own after it", () =>
    Effect.gen(function* () {
      yield* succeed("api", { tenant: "acme" })
      yield* succeed("api", { tenant: "acme", key: "eu" })
      yield* succeed("api", { tenant: "acme", key: "" })
      yield* succeed("shared", { tenant: "acme", key: "eu" })
      assert.sameDeepMembers(yield* circuits, [
        ["api", "acme"],
        ["api", "acme/eu"],
        ["api", "acme/"],
        ["shared", "eu"]
      ])
    }).pipe(Effect.provide(Live))
  )

  it.effect("have keys in which no slash and no percent sign is the tenant's own", () =>
    Effect.gen(function* () {
      for (const tenant of ["a/b", "a", "50%", "%2F"]) yield* succeed("api", { tenant })
      yield* succeed("api", { tenant: "a", key: "b" })
      yield* succeed("api", { tenant: "a/b", key: "c/d%" })
      assert.deepStrictEqual(yield* circuits, [
        ["api", "a%2Fb"],
        ["api", "a"],
        ["api", "50%25"],
        ["api", "%252F"],
        ["api", "a/b"],
        ["api", "a%2Fb/c/d%"]
      ])
    }).pipe(Effect.provide(Live))
  )

  it.effect("are controlled, inspected and listed by the same tenant as their calls", () =>
    Effect.gen(function* () {
      const acme = Tenant.within("acme")
      assert.strictEqual(yield* acme(CircuitBreaker.isolate("api", { key: "eu" })), "Isolated")
      assert.strictEqual((yield* succeed("api", { tenant: "acme", key: "eu" }))._tag, "Failure")
      assert.strictEqual((yield* acme(CircuitBreaker.inspect("api", { key: "eu" }))).key, "acme/eu")
      assert.strictEqual((yield* succeed("api", { key: "eu" }))._tag, "Success")
      assert.strictEqual((yield* succeed("api", { tenant: "acme" }))._tag, "Success")
      yield* acme(CircuitBreaker.release("api", { key: "eu" }))
      assert.strictEqual((yield* succeed("api", { tenant: "acme", key: "eu" }))._tag, "Success")
    }).pipe(Effect.provide(Live))
  )

  const part = Arbitrary.map(
    Arbitrary.array(Arbitrary.schema(Schema.Literals(["a", "/", "%", "2", "5", "F", "%2F", "%25", "é", " "])), {
      minLength: 1,
      maxLength: 4
    }),
    (parts) => parts.join("")
  )
  const key = Arbitrary.map(Arbitrary.all([Arbitrary.schema(Schema.Boolean), part]), ([empty, key]) =>
    empty ? "" : key
  )

  it.effect.prop(
    "with keys are never shared by two pairs of tenant and key",
    [part, key, part, key],
    ([t1, k1, t2, k2]) =>
      Effect.gen(function* () {
        yield* trip("api", { tenant: t1, key: k1 })
        assert.strictEqual(yield* state("api", { tenant: t1, key: k1 }), "Open")
        const same = t1 === t2 && k1 === k2
        assert.strictEqual(yield* state("api", { tenant: t2, key: k2 }), same ? "Open" : "Closed")
      }).pipe(Effect.provide(Live)),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "are never shared where a slash moves from the tenant to the key, or is written escaped",
    [part, part, part],
    ([x, y, z]) =>
      Effect.gen(function* () {
        yield* CircuitBreaker.isolate("api", { key: z }).pipe(Tenant.within(`${x}/${y}`))
        for (const [tenant, key] of [
          [x, `${y}/${z}`],
          [`${x}%2F${y}`, z],
          [`${x}%252F${y}`, z]
        ] as const) {
          assert.strictEqual(yield* state("api", { tenant, key }), "Closed")
        }
      }).pipe(Effect.provide(Live))
  )

  it.effect.prop("without keys are never shared by two tenants", [part, part], ([t1, t2]) =>
    Effect.gen(function* () {
      yield* trip("api", { tenant: t1 })
      assert.strictEqual(yield* state("api", { tenant: t2 }), t1 === t2 ? "Open" : "Closed")
    }).pipe(Effect.provide(Live))
  )

  it.effect.prop(
    "without a key are never shared with those of another tenant's keys",
    [part, part, key],
    ([outer, tenant, key]) =>
      Effect.gen(function* () {
        for (const without of [outer, `${tenant}/${key}`, `${tenant}%2F${key}`]) {
          yield* Tenant.within(CircuitBreaker.open("api"), without)
        }
        assert.strictEqual(yield* state("api", { tenant, key }), "Closed")
      }).pipe(Effect.provide(Live))
  )
})

describe("counted tenants", () => {
  it.effect("are counted each on the circuit they share: calls, failures and rejections", () =>
    Effect.gen(function* () {
      const tenants = Effect.map(CircuitBreaker.inspect("counted"), (seen) => seen.tenants)
      yield* succeed("counted")
      assert.deepStrictEqual(yield* tenants, {})
      yield* succeed("counted", { tenant: "acme" })
      yield* fail("counted", { tenant: "acme" })
      yield* fail("counted", { tenant: "other" })
      for (const tenant of ["acme", "third", undefined]) yield* succeed("counted", { tenant })
      assert.deepStrictEqual(yield* tenants, {
        acme: { calls: 2, failures: 1, rejected: 1, lastFailure: { at: 0, error: "down" } },
        other: { calls: 1, failures: 1, rejected: 0, lastFailure: { at: 0, error: "down" } },
        third: { calls: 0, failures: 0, rejected: 1, lastFailure: undefined }
      })
      const { totals } = yield* CircuitBreaker.inspect("counted")
      assert.deepInclude(totals, { calls: 4, failures: 2, rejected: 3 })
    }).pipe(Effect.provide(Live))
  )

  it.effect("have each its own last failure, bounded, without the secrets of a URL", () =>
    Effect.gen(function* () {
      const failing = (tenant: string, error: unknown) =>
        Effect.ignore(Tenant.within(CircuitBreaker.protect(Effect.fail(error), "counted"), tenant))
      yield* failing("acme", "first")
      yield* CircuitBreaker.reset("counted")
      yield* TestClock.adjust("1 second")
      yield* failing("acme", new Error(`GET https://user:secret@a.test/?token=secret ${"x".repeat(1_000)}`))
      yield* CircuitBreaker.reset("counted")
      yield* failing("other", "second")
      const { tenants } = yield* CircuitBreaker.inspect("counted")
      assert.deepStrictEqual(tenants["other"]?.lastFailure, { at: 1_000, error: "second" })
      const { at, error } = tenants["acme"]?.lastFailure ?? assert.fail()
      assert.strictEqual(at, 1_000)
      assert.notInclude(error, "secret")
      assert.isAtMost(error.length, 300)
    }).pipe(Effect.provide(Live))
  )

  it.effect("have a probe that timed out as their failure, and not as a rejection", () =>
    Effect.gen(function* () {
      const policy: BreakerPolicy.Input = {
        tenants: "counted",
        trip: Trip.consecutive(1),
        cooldown: 0,
        slowCall: "2 seconds"
      }
      const call = (probeTimeout: Duration.Input, name: string) => {
        const self = Effect.never.pipe(CircuitBreaker.protect(name, { policy: { ...policy, probeTimeout } }))
        return Effect.forkChild(Effect.exit(Tenant.within(self, "acme")))
      }
      for (const [probeTimeout, name, slow] of [
        ["1 second", "quick", 0],
        ["2 seconds", "slow", 1]
      ] as const) {
        yield* CircuitBreaker.open(name, { for: 1 })
        yield* TestClock.adjust(1)
        const probe = yield* call(probeTimeout, name)
        yield* TestClock.adjust(probeTimeout)
        const exit = yield* Fiber.join(probe)
        assert.include(String(exit), "gave up a probe")
        const { tenants, totals } = yield* CircuitBreaker.inspect(name)
        assert.deepInclude(tenants["acme"], { calls: 1, failures: 1, rejected: 0 })
        assert.include(tenants["acme"]?.lastFailure?.error, "a probe did not end within")
        assert.deepInclude(totals, { calls: 1, failures: 1, rejected: 0, slow })
      }
    }).pipe(Effect.provide(Live))
  )

  it.effect("are counted under any name, and nowhere else", () =>
    Effect.gen(function* () {
      const names = ["__proto__", "constructor", "toString", "a/b", " "]
      for (const tenant of names) {
        for (const name of ["counted", "shared", "separate"]) yield* fail(name, { tenant })
        yield* CircuitBreaker.reset("counted")
      }
      const { tenants } = yield* CircuitBreaker.inspect("counted")
      assert.sameMembers(Object.keys(tenants), names)
      for (const tenant of names) assert.deepInclude(tenants[tenant], { calls: 1, failures: 1, rejected: 0 })
      for (const seen of yield* CircuitBreaker.list) {
        if (seen.circuit !== "counted") assert.deepStrictEqual(seen.tenants, {})
      }
    }).pipe(Effect.provide(Live))
  )

  it.effect("beyond a thousand are counted together, and none is lost", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 1_500 }, (_, index) => `tenant-${index}`)
      for (const tenant of many) yield* succeed("counted", { tenant })
      yield* succeed("counted", { tenant: "tenant-0" })
      const { tenants } = yield* CircuitBreaker.inspect("counted")
      assert.strictEqual(Object.keys(tenants).length, 1_001)
      assert.strictEqual(tenants["tenant-0"]?.calls, 2)
      assert.strictEqual(tenants["(others)"]?.calls, 500)
      const sum = Object.values(tenants).reduce((sum, { calls }) => sum + calls, 0)
      assert.strictEqual(sum, 1_501)
    }).pipe(Effect.provide(Live))
  )
})

describe("within", () => {
  it.effect("holds for the effect inside, the innermost one first, and no longer", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Tenant.Current, undefined)
      const seen = yield* Effect.gen(function* () {
        const before = yield* Tenant.Current
        const inner = yield* Tenant.within(Tenant.Current, "inner")
        const forked = yield* Effect.flatMap(Effect.forkChild(Tenant.Current), Fiber.join)
        return [before, inner, yield* Tenant.Current, forked]
      }).pipe(Tenant.within("outer"))
      assert.deepStrictEqual(seen, ["outer", "inner", "outer", "outer"])
      assert.strictEqual(yield* Tenant.Current, undefined)
    })
  )

  it.effect("nested in another gives the inner tenant's circuit", () =>
    Effect.gen(function* () {
      yield* Tenant.within(trip("api", { tenant: "inner" }), "outer")
      assert.strictEqual(yield* state("api", { tenant: "inner" }), "Open")
      assert.strictEqual(yield* state("api", { tenant: "outer" }), "Closed")
    }).pipe(Effect.provide(Live))
  )

  it.effect("keeps the value and the error of the effect", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Tenant.within(Effect.succeed(1), "acme"), 1)
      assert.strictEqual(yield* Effect.flip(Tenant.within(Effect.fail("no"), "acme")), "no")
    })
  )

  it.each([
    ["an empty text", "", '""'],
    ["a text of 257 characters", "x".repeat(257), '"xxxxx'],
    ["a number", 5, "5"],
    ["null", null, "null"],
    ["nothing", undefined, "nothing"],
    ["an object", { id: "acme" }, '{"id":"acme"}'],
    ["a bigint", 5n, "5n"],
    ["a number that is none", NaN, "NaN"],
    ["a function", () => "acme", "a function"]
  ])("refuses %s with a RangeError that shows the value", (_, tenant, got) => {
    for (const wrong of [
      () => Tenant.within(Effect.void, tenant as string),
      () => Tenant.within(tenant as string)(Effect.void)
    ]) {
      try {
        wrong()
        assert.fail("it was accepted")
      } catch (error) {
        assert.instanceOf(error, RangeError)
        assert.include(error.message, "tenant")
        assert.include(error.message, got)
        assert.isBelow(error.message.length, 200)
      }
    }
  })

  it("takes a tenant of 256 characters", () => {
    assert.isTrue(Effect.isEffect(Tenant.within(Effect.void, "x".repeat(256))))
  })
})
