import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, type Scope, Stream } from "effect"
import { type BreakerStore, CircuitBreaker, type CircuitOpen, CircuitPool, Trip } from "effect-fuse"
import { expectState, quick, rejectionIn, scenario } from "./support/verbs.ts"

class Payments {
  readonly pay = (amount: number) => (amount > 0 ? Effect.succeed(`paid ${amount}`) : Effect.fail("refused" as const))
}
class Registry extends Context.Service<
  Registry,
  { readonly lookup: Effect.Effect<{ readonly a: number; readonly b: number }, "down"> }
>()("test/Registry") {}

const services = () =>
  CircuitPool.make("services", {
    members: { payments: new Payments(), search: "https://search.example" },
    policy: { trip: Trip.consecutive(1), keys: { search: { trip: Trip.consecutive(2) } } }
  })

describe("a member that the caller chooses by name", () => {
  scenario("receives its own value, under its own circuit", {}, function* () {
    const pool = services()
    assert.strictEqual(yield* CircuitPool.callMember(pool, "payments", (one) => one.pay(7)), "paid 7")
    const url = CircuitPool.callMember(pool, "search", (one, name) => Effect.succeed(`${name} at ${one}`))
    assert.strictEqual(yield* url, "search at https://search.example")
    yield* Effect.exit(CircuitPool.callMember(pool, "payments", (one) => one.pay(0)))
    yield* expectState("Open", { name: "services", key: "payments" })
    assert.strictEqual(yield* url, "search at https://search.example")
  })

  scenario("has a policy of its own", {}, function* () {
    const pool = services()
    const failing = Effect.exit(CircuitPool.callMember(pool, "search", () => Effect.fail("boom")))
    yield* failing
    yield* expectState("Closed", { name: "services", key: "search" })
    yield* failing
    yield* expectState("Open", { name: "services", key: "search" })
  })

  scenario("is not replaced by another member if its circuit is open", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b"] })
    yield* CircuitBreaker.isolate("api", { key: "a" })
    const open = rejectionIn(yield* Effect.exit(CircuitPool.callMember(pool, "a", Effect.succeed)))
    assert.deepStrictEqual([open.circuit, open.key, open.reason], ["api", "a", "Isolated"])
  })

  scenario("counts as a call of the pool", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b"], choose: "leastBusy" })
    yield* Effect.forkChild(
      CircuitPool.callMember(pool, "a", () => Effect.never),
      { startImmediately: true }
    )
    assert.strictEqual(yield* CircuitPool.call(pool, Effect.succeed), "b")
  })

  scenario("is classified by its options", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a"] })
    yield* Effect.exit(CircuitPool.callMember(pool, "a", () => Effect.fail("no"), { isFailure: () => false }))
    yield* expectState("Closed", { key: "a" })
  })

  it("has its own type, and an unknown name is a type error and a RangeError", () => {
    const pool = services()
    const paid = CircuitPool.callMember(pool, "payments", (one) => one.pay(1))
    expectTypeOf(paid).toEqualTypeOf<
      Effect.Effect<string, "refused" | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>
    >()
    // @ts-expect-error There is no such member.
    const unknown = () => CircuitPool.callMember(pool, "payment", () => Effect.void)
    assert.throws(unknown, /CircuitPool\.callMember: name: expected "payments" or "search", got "payment"/)
    // @ts-expect-error The member is not a payment service.
    void (() => CircuitPool.callMember(pool, "search", (one) => one.pay(1)))
    const listed = CircuitPool.make("api", { members: ["a", "b"] })
    expectTypeOf(listed).toEqualTypeOf<CircuitPool.CircuitPool<string, { readonly a: string; readonly b: string }>>()
    // @ts-expect-error There is no such member in the list.
    void (() => CircuitPool.callMember(listed, "c", () => Effect.void))
    // A pool with known names can be passed as a pool without them.
    const erased: CircuitPool.CircuitPool<string> = listed
    // @ts-expect-error The names are not known.
    void (() => CircuitPool.callMember(erased, "a", () => Effect.void))
  })

  it("policies and weights accept only the names of members", () => {
    // @ts-expect-error There is no such member.
    const policy = () => CircuitPool.make("api", { members: ["a"], policy: { keys: { b: {} } } })
    assert.doesNotThrow(policy)
    // @ts-expect-error There is no such member.
    const weights = () => CircuitPool.make("api", { members: { a: 1 }, weights: { b: 1 } })
    assert.throws(weights, /weights\.b: expected the name of a member/)
    const host = "a" as string
    CircuitPool.make("api", { members: [host], weights: { a: 2 }, policy: { keys: { a: {} } } })
  })

  it("a pool that discovers its members has the errors and services of the lookup", () => {
    const lookup = Registry.use((registry) => registry.lookup)
    expectTypeOf(CircuitPool.discover("api", { members: lookup })).toEqualTypeOf<
      Effect.Effect<CircuitPool.CircuitPool<number>, "down", Registry | Scope.Scope>
    >()
    expectTypeOf(CircuitPool.discover("api", { members: Stream.succeed(["a", "b"]) })).toEqualTypeOf<
      Effect.Effect<CircuitPool.CircuitPool<string>, never, Scope.Scope>
    >()
  })
})
