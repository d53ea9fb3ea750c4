import { assert, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, Exit, type Layer, pipe } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, type CircuitOpen, Outcome, Trip } from "effect-fuse"
import type * as Operator from "effect-fuse/Operator"
import { Http, type Missing, Refused } from "./support/typedCall.ts"

class Health extends Context.Service<Health, { readonly of: (status: number) => Outcome.Outcome }>()("test/Health") {}

type Open = CircuitOpen.CircuitOpen
type Store = BreakerStore.BreakerStore
type Call<R = Store> = Effect.Effect<string, Refused | Missing | Open, R | Http>

const call = Http.use((http) => http.get)
const key = { key: "customer-7" }

const byStatus = (exit: Exit.Exit<string, Refused | Missing>) =>
  Health.use((health) => Effect.succeed(health.of(Exit.isSuccess(exit) ? exit.value.length : 503)))

const http = Http.of({ get: Effect.succeed("hello") })

it.effect(
  "protect keeps A, adds CircuitOpen to E and BreakerStore to R, in pipe and out of it, with options and without",
  () =>
    Effect.gen(function* () {
      const piped = pipe(call, CircuitBreaker.protect("api"))
      const called = CircuitBreaker.protect(call, "api")
      const keyed = call.pipe(CircuitBreaker.protect("api", key))
      const calledKeyed = CircuitBreaker.protect(call, "api", key)
      const all = [piped, called, keyed, calledKeyed] as const
      expectTypeOf(all).toEqualTypeOf<readonly [Call<Store>, Call<Store>, Call<Store>, Call<Store>]>()

      // What never fails and needs nothing gains the same two, and nothing else.
      const bare = CircuitBreaker.protect(Effect.succeed(1), "api")
      expectTypeOf(bare).toEqualTypeOf<Effect.Effect<number, Open, Store>>()
      expectTypeOf(pipe(Effect.succeed(1), CircuitBreaker.protect("api"))).toEqualTypeOf(bare)
      expectTypeOf(pipe(Effect.succeed(1), CircuitBreaker.protect("api", key))).toEqualTypeOf(bare)

      for (const one of all) assert.strictEqual(yield* Effect.provideService(one, Http, http), "hello")
    }).pipe(Effect.provide(BreakerStore.layerMemory))
)

it("classify reads the exit of the very effect that is protected, without annotations", () => {
  const piped = pipe(
    call,
    CircuitBreaker.protect("api", {
      classify: (exit) => {
        expectTypeOf(exit).toEqualTypeOf<Exit.Exit<string, Refused | Missing>>()
        return Outcome.success
      }
    })
  )
  expectTypeOf(piped).toEqualTypeOf<Call>()

  const called = CircuitBreaker.protect(call, "api", {
    classify: (exit) => {
      expectTypeOf(exit).toEqualTypeOf<Exit.Exit<string, Refused | Missing>>()
      return Exit.isSuccess(exit) ? Outcome.success : Outcome.failure({ weight: 2 })
    }
  })
  expectTypeOf(called).toEqualTypeOf<Call>()
})

it("a classifier that is an effect adds what it needs, and cannot fail", () => {
  expectTypeOf(CircuitBreaker.protect(call, "api", { classify: byStatus })).toEqualTypeOf<Call<Store | Health>>()
  expectTypeOf(pipe(call, CircuitBreaker.protect("api", { classify: byStatus }))).toEqualTypeOf<Call<Store | Health>>()

  // @ts-expect-error a classifier has an answer for every exit
  CircuitBreaker.protect(call, "api", { classify: () => Effect.fail("no idea") })
  // @ts-expect-error an outcome is none of these
  CircuitBreaker.protect(call, "api", { classify: () => "failure" })
})

it("isFailure and isIgnored see the error of the effect", () => {
  const piped = pipe(
    call,
    CircuitBreaker.protect("api", {
      isFailure: (error) => {
        expectTypeOf(error).toEqualTypeOf<Refused | Missing>()
        return error._tag === "Refused" && error.status >= 500
      },
      isIgnored: (error) => error._tag === "Missing"
    })
  )
  expectTypeOf(piped).toEqualTypeOf<Call>()

  const called = CircuitBreaker.protect(call, "api", { isFailure: (error) => error._tag === "Refused" })
  expectTypeOf(called).toEqualTypeOf<Call>()

  // @ts-expect-error no such error is in the effect
  CircuitBreaker.protect(call, "api", { isFailure: (error) => error._tag === "Timeout" })
})

it.effect("catchTag of CircuitOpen leaves the errors there were", () =>
  Effect.gen(function* () {
    const caught = pipe(
      call,
      CircuitBreaker.protect("api"),
      Effect.catchTag("CircuitOpen", (open) => {
        expectTypeOf(open).toEqualTypeOf<Open>()
        return Effect.succeed(open.openings)
      })
    )
    expectTypeOf(caught).toEqualTypeOf<Effect.Effect<string | number, Refused | Missing, Store | Http>>()

    yield* CircuitBreaker.isolate("api")
    assert.strictEqual(yield* Effect.provideService(caught, Http, http), 0)
  }).pipe(Effect.provide(BreakerStore.layerMemory))
)

it.effect("the two steps need the store once, and only the first can be rejected", () =>
  Effect.gen(function* () {
    const admitted = CircuitBreaker.admit("api", { key: "a", lease: "1 minute" })
    expectTypeOf(admitted).toEqualTypeOf<Effect.Effect<CircuitBreaker.Permit, Open, Store>>()
    const permit = yield* admitted
    const settled = CircuitBreaker.settle(permit, Outcome.success)
    expectTypeOf(settled).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(CircuitBreaker.settle(permit, Exit.fail(new Refused()))).toEqualTypeOf<Effect.Effect<void>>()
    yield* settled
    assert.strictEqual((yield* CircuitBreaker.inspect("api", { key: "a" })).totals.successes, 1)

    // @ts-expect-error a permit cannot be made up
    CircuitBreaker.settle({}, Outcome.success)
    // @ts-expect-error an end is an outcome or an exit
    CircuitBreaker.settle(permit, "success")
  }).pipe(Effect.provide(BreakerStore.layerMemory))
)

it("policies add nothing to the requirements, and fail with PolicyError alone", () => {
  const policies = BreakerPolicy.layer({ breakers: { api: { trip: Trip.consecutive(3) } } })
  expectTypeOf(policies).toEqualTypeOf<Layer.Layer<never, BreakerPolicy.PolicyError>>()
  expectTypeOf(BreakerPolicy.layerConfig()).toEqualTypeOf<Layer.Layer<never, BreakerPolicy.PolicyError>>()
  expectTypeOf(BreakerStore.layerMemory).toEqualTypeOf<Layer.Layer<Store>>()

  const provided = CircuitBreaker.protect(call, "api").pipe(
    Effect.provide(policies),
    Effect.provide(BreakerStore.layerMemory)
  )
  type Errors = Refused | Missing | Open | BreakerPolicy.PolicyError
  expectTypeOf(provided).toEqualTypeOf<Effect.Effect<string, Errors, Http>>()
})

it("inspections and operator actions need the store and cannot fail", () => {
  type Steered = Effect.Effect<"Closed" | "Open" | "HalfOpen" | "Isolated" | "Disabled", never, Store>
  expectTypeOf(CircuitBreaker.state("api", key)).toEqualTypeOf<Steered>()
  expectTypeOf(CircuitBreaker.open("api", { ...key, for: "1 minute" })).toEqualTypeOf<Steered>()
  expectTypeOf(CircuitBreaker.release("api")).toEqualTypeOf<Effect.Effect<CircuitBreaker.Released, never, Store>>()
  expectTypeOf<Operator.Done>().toExtend<CircuitBreaker.Released>()
  expectTypeOf(CircuitBreaker.awaitClosed("api")).toEqualTypeOf<Effect.Effect<void, never, Store>>()
  expectTypeOf(CircuitBreaker.inspect("api")).toEqualTypeOf<Effect.Effect<CircuitBreaker.Inspection, never, Store>>()
})

it("wrong options do not compile, and throw where they are written", () => {
  // @ts-expect-error a name is a text
  assert.throws(() => CircuitBreaker.protect(call, 1), RangeError)
  // @ts-expect-error a key is a text
  assert.throws(() => CircuitBreaker.protect("api", { key: 7 }), RangeError)
  // @ts-expect-error the policy has no such field
  assert.throws(() => CircuitBreaker.protect("api", { policy: { treshold: 5 } }), /treshold/)
  // @ts-expect-error probes is a number
  assert.throws(() => CircuitBreaker.protect("api", { policy: { probes: "two" } }), /probes/)
  // @ts-expect-error a lapse of time is a duration
  assert.throws(() => CircuitBreaker.isolate("api", { for: "soon" }), RangeError)
  // @ts-expect-error protect has no such option
  assert.throws(() => CircuitBreaker.protect(call, "api", { retries: 3 }), /retries: unknown field/)
  // @ts-expect-error close takes no time
  assert.throws(() => CircuitBreaker.close("api", { for: "1 minute" }), /for: unknown field/)
})

it("a guard that is made apart from its effect keeps the types of whatever it guards, unless it reads exits", () => {
  const effect = Effect.succeed("x") as Effect.Effect<string, Error>
  type Guarded = Effect.Effect<string, Error | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>
  const guard = CircuitBreaker.protect("api", { key: "eu" })
  const byKey = (key: string) => CircuitBreaker.protect("api", { key, policy: { probes: 2 } })
  expectTypeOf(pipe(effect, guard)).toEqualTypeOf<Guarded>()
  expectTypeOf(pipe(effect, byKey("a"))).toEqualTypeOf<Guarded>()
  const reading = CircuitBreaker.protect("api", { key: "eu", isFailure: (error: Error) => error.message !== "" })
  expectTypeOf(pipe(effect, reading)).toEqualTypeOf<Guarded>()
  // @ts-expect-error a guard that reads errors is for effects with such errors
  pipe(Effect.succeed("x") as Effect.Effect<string, string>, reading)
  const options: CircuitBreaker.ProtectOptions<string, Error, "service"> = {}
  expectTypeOf(CircuitBreaker.protect("api", options)(effect)).toEqualTypeOf<
    Effect.Effect<string, Error | CircuitOpen.CircuitOpen, "service" | BreakerStore.BreakerStore>
  >()
  assert.isFunction(guard)
})
