import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { type Cause, Context, type Duration, Effect, pipe, Schedule } from "effect"
import { RateLimiter } from "effect/persistence"
import {
  type BreakerStore,
  Bulkhead,
  type BulkheadFull,
  type CircuitOpen,
  Deadline,
  Outcome,
  Resilience
} from "effect-fuse"
import { Http, type Missing, Refused } from "./support/typedCall.ts"

class Backup extends Context.Service<Backup, number>()("test/Backup") {}
class Clerk extends Context.Service<Clerk, { readonly of: Outcome.Outcome }>()("test/Clerk") {}

type Errors = Refused | Missing
type Open = CircuitOpen.CircuitOpen
type Full = BulkheadFull.BulkheadFull
type Late = Cause.TimeoutError
type Limited = RateLimiter.RateLimiterError
type Store = BreakerStore.BreakerStore

const { breaker, bulkhead, fallback, hedge, pipeline, rateLimit, retry, standard, timeout } = Resilience
const call: Effect.Effect<string, Errors, Http> = Http.use((http) => http.get)
const places = Bulkhead.makeUnsafe({ concurrency: 1 })
const limits = { key: "api", limit: 1, window: "1 second" } as const

it("each part adds its own errors and requirements, and nothing else", () => {
  expectTypeOf(timeout("1 second")(call)).toEqualTypeOf<Effect.Effect<string, Errors | Late, Http>>()
  expectTypeOf(breaker("api")(call)).toEqualTypeOf<Effect.Effect<string, Errors | Open, Http | Store>>()
  expectTypeOf(bulkhead(places)(call)).toEqualTypeOf<Effect.Effect<string, Errors | Full, Http>>()
  expectTypeOf(retry()(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http>>()
  expectTypeOf(retry({ times: 1 })(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http>>()
  expectTypeOf(retry({ budget: "api" })(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http | Store>>()
  expectTypeOf(hedge({ after: 1 })(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http>>()
  expectTypeOf(hedge({ after: "p95", min: 1, max: 2 })(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http>>()
  expectTypeOf(hedge({ after: 1, budget: "api" })(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http | Store>>()
  const limited = rateLimit(RateLimiter.RateLimiter, limits)(call)
  expectTypeOf(limited).toEqualTypeOf<Effect.Effect<string, Errors | Limited, Http | RateLimiter.RateLimiter>>()
  // What never fails gains nothing but what is added.
  expectTypeOf(retry()(Effect.succeed(1))).toEqualTypeOf<Effect.Effect<number>>()
})

it("a classifier that needs a service adds it", () => {
  const classify = () => Clerk.use((clerk) => Effect.succeed(clerk.of))
  const guarded = breaker("api", { classify })(call)
  expectTypeOf(guarded).toEqualTypeOf<Effect.Effect<string, Errors | Open, Http | Store | Clerk>>()
})

it("a schedule that needs a service adds it", () => {
  const schedule = Schedule.while(Schedule.forever, () => Effect.as(Backup, true))
  expectTypeOf(retry({ schedule })(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http | Backup>>()
})

it("a pipe and a pipeline have the same types", () => {
  const guard = breaker("api")
  const again = retry({ times: 1 })
  const late = timeout("1 second")
  const room = bulkhead(places)
  type All = Effect.Effect<string, Errors | Late | Full | Open, Http | Store>
  expectTypeOf(pipe(call, late, room, guard, again)).toEqualTypeOf<All>()
  expectTypeOf(pipeline(late, room, guard, again)(call)).toEqualTypeOf<All>()
  expectTypeOf(pipeline(pipeline(late, room), pipeline(guard, again))(call)).toEqualTypeOf<All>()
  expectTypeOf(pipe(call, pipeline(late, room, guard, again))).toEqualTypeOf<All>()
  expectTypeOf(pipeline(late)(call)).toEqualTypeOf<Effect.Effect<string, Errors | Late, Http>>()
  expectTypeOf(pipeline(late, room, guard, again, hedge({ after: 1 }))(call)).toEqualTypeOf<All>()
})

it("a fallback removes the errors inside it, and adds its answer, its errors and its requirements", () => {
  const other = fallback(Effect.as(Backup, 42))
  expectTypeOf(other(call)).toEqualTypeOf<Effect.Effect<string | number, never, Http | Backup>>()
  const guarded = pipeline(timeout("1 second"), breaker("api"), other)
  expectTypeOf(guarded(call)).toEqualTypeOf<Effect.Effect<string | number, never, Http | Backup | Store>>()
  const failing = pipeline(breaker("api"), fallback(Effect.fail("worse" as const)))
  expectTypeOf(failing(call)).toEqualTypeOf<Effect.Effect<string, "worse", Http | Store>>()
  // Inside a breaker it hides the call's errors, and the breaker's stay.
  const inside = pipeline(other, breaker("api"))
  expectTypeOf(inside(call)).toEqualTypeOf<Effect.Effect<string | number, Open, Http | Backup | Store>>()
  const reading = fallback((error: Refused | Missing | Open) => Effect.succeed(error._tag.length))
  expectTypeOf(pipeline(breaker("api"), reading)(call)).toEqualTypeOf<
    Effect.Effect<string | number, never, Http | Store>
  >()
})

it("options that are held in a variable are options, and may need the store", () => {
  const options: Resilience.RetryOptions = { times: 1 }
  expectTypeOf(retry(options)(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http | Store>>()
  const beside: Resilience.HedgeOptions = { after: "1 second" }
  expectTypeOf(hedge(beside)(call)).toEqualTypeOf<Effect.Effect<string, Errors, Http | Store>>()
})

it("what cannot handle the errors inside it is a type error", () => {
  const onlyRefused = retry({ while: (error: Refused) => error.status >= 500 })
  expectTypeOf(onlyRefused(Effect.fail(new Refused()))).toEqualTypeOf<Effect.Effect<never, Refused>>()
  // @ts-expect-error Missing is among the errors of the call
  onlyRefused(call)
  // @ts-expect-error Missing is among the errors of the call
  pipe(call, onlyRefused)
  // @ts-expect-error a timeout is among the errors inside
  pipeline(timeout("1 second"), onlyRefused)
  // @ts-expect-error it is so as well where something stands between
  pipeline(timeout("1 second"), bulkhead(places), onlyRefused)
  // @ts-expect-error and inside a pipeline of pipelines
  pipeline(pipeline(timeout("1 second"), bulkhead(places)), pipeline(onlyRefused))
  // @ts-expect-error the pipeline as a whole asks for what its retry can handle
  pipeline(onlyRefused, breaker("api"))(call)
  const ofRefused = fallback((error: Refused) => Effect.succeed(error.status))
  // @ts-expect-error a fallback of other errors
  pipeline(breaker("api"), ofRefused)
  // @ts-expect-error a breaker that reads other errors
  pipeline(timeout(1), breaker("api", { isFailure: (error: Refused) => error.status > 1 }))
  // A fallback inside hides them.
  const hidden = pipeline(timeout("1 second"), fallback(Effect.fail(new Refused())), onlyRefused)
  expectTypeOf(hidden(call)).toEqualTypeOf<Effect.Effect<string, Refused, Http>>()
})

describe("Resilience.standard has the types of what it has", () => {
  it("by each option", () => {
    type Of<E, R = never, A = string> = Effect.Effect<A, E, Http | Store | R>
    expectTypeOf(standard("api")(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
    expectTypeOf(standard("api", {})(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
    expectTypeOf(standard("api", { timeout: false })(call)).toEqualTypeOf<Of<Errors | Open>>()
    expectTypeOf(standard("api", { timeout: "1 second" })(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
    expectTypeOf(standard("api", { bulkhead: { concurrency: 1 } })(call)).toEqualTypeOf<
      Of<Errors | Open | Late | Full>
    >()
    expectTypeOf(standard("api", { bulkhead: places })(call)).toEqualTypeOf<Of<Errors | Open | Late | Full>>()
    expectTypeOf(standard("api", { bulkhead: false })(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
    expectTypeOf(standard("api", { retry: false })(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
    expectTypeOf(standard("api", { retry: { times: 1 } })(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
    expectTypeOf(standard("api", { fallback: Effect.as(Backup, 1) })(call)).toEqualTypeOf<
      Of<never, Backup, string | number>
    >()
    expectTypeOf(standard("api", { fallback: (_: unknown) => Effect.fail("worse" as const) })(call)).toEqualTypeOf<
      Of<"worse">
    >()
    expectTypeOf(standard("api", { fallback: undefined })(call)).toEqualTypeOf<Of<Errors | Open | Late>>()
  })

  it("a retry is asked about all errors but that of an open circuit, which it never tries again", () => {
    const again = { while: (error: Refused | Missing | Late) => error._tag === "Refused" }
    expectTypeOf(standard("api", { retry: again })(call)).toEqualTypeOf<
      Effect.Effect<string, Errors | Open | Late, Http | Store>
    >()
    // @ts-expect-error a bulkhead adds an error that this does not take
    standard("api", { retry: again, bulkhead: { concurrency: 1 } })(call)
    // @ts-expect-error and a call one more
    standard("api", { retry: again })(Effect.fail("another"))
    // @ts-expect-error whatever answers is asked about it
    standard("api", { fallback: (error: Refused | Missing | Late) => Effect.succeed(error._tag) })(call)
  })

  it("an option that there is not is a type error, at the top and in its parts", () => {
    const wrong: ReadonlyArray<() => unknown> = [
      // @ts-expect-error retires
      () => standard("api", { timeout: "3 seconds", retires: { times: 1 } }),
      // @ts-expect-error delay
      () => standard("api", { retry: { times: 3, delay: "1 second" } }),
      // @ts-expect-error isFailed
      () => standard("api", { breaker: { key: "a", isFailed: () => true } })
    ]
    for (const make of wrong) assert.throws(make, /unknown field/)
  })

  it("an option that may or may not be there is among the errors", () => {
    const maybe = standard("api", { bulkhead: { concurrency: 1 } as Bulkhead.Options | false })(call)
    expectTypeOf<Effect.Error<typeof maybe>>().toEqualTypeOf<Errors | Open | Late | Full>()
    const perhaps = standard("api", { bulkhead: places as Bulkhead.Bulkhead | undefined })(call)
    expectTypeOf<Effect.Error<typeof perhaps>>().toEqualTypeOf<Errors | Open | Late | Full>()
    const options: Resilience.StandardOptions = { bulkhead: places, fallback: Effect.succeed(1) }
    const widest = standard("api", options)(call)
    expectTypeOf<Full>().toExtend<Effect.Error<typeof widest>>()
    expectTypeOf<number>().toExtend<Effect.Success<typeof widest>>()
    const timed = standard("api", { timeout: false as false | "1 second" })(call)
    expectTypeOf<Effect.Error<typeof timed>>().toEqualTypeOf<Errors | Open | Late>()
    const filled = standard("api", { fallback: Effect.succeed(1) as Effect.Effect<number> | undefined })(call)
    expectTypeOf<Effect.Success<typeof filled>>().toEqualTypeOf<string | number>()
    expectTypeOf<Errors>().toExtend<Effect.Error<typeof filled>>()
  })
})

describe("Options that are wrong throw a RangeError that names the operation and the field", () => {
  const durations = [0, -1, "soon", Infinity, Number.NaN, null, {}, true]
  const notCounts = [0, -1, 1.5, Number.NaN, Infinity, "2", null]
  const notCountsOrZero = notCounts.slice(1)
  type Make = (options: unknown) => unknown
  // biome-ignore lint/suspicious/noExplicitAny: what is wrong has no type
  const wrongly = (make: (options: any) => unknown): Make => make
  const makes: Readonly<Record<string, Make>> = {
    "Resilience.retry": wrongly((options) => retry(options)),
    "Resilience.hedge": wrongly((options) => hedge(options)),
    "Resilience.rateLimit": wrongly((options) => rateLimit(RateLimiter.RateLimiter, options)),
    "Resilience.breaker": wrongly((options) => breaker("api", options)),
    "Resilience.standard": wrongly((options) => standard("api", options)),
    "Resilience.bulkhead": wrongly((options) => bulkhead(options))
  }
  const field = (name: string, values: ReadonlyArray<unknown>, rest: object = {}) =>
    values.map((value) => [{ ...rest, [name]: value }, name] as const)
  const budgets = [
    ...notCountsOrZero.map((floor) => [{ name: "api", floor }, "budget.floor"] as const),
    ...[0, -1, 1.1, Number.NaN, "1", null].map((share) => [{ name: "api", share }, "budget.share"] as const),
    ...durations.map((over) => [{ name: "api", over }, "budget.over"] as const),
    ...[1, null].map((key) => [{ name: "api", key }, "budget.key"] as const),
    ["", "budget.name"],
    [{}, "budget.name"],
    [5, "budget"],
    [null, "budget"],
    [{ name: "api", size: 1 }, "budget.size"]
  ] as const
  const inBudget = (rest: object) => budgets.map(([budget, name]) => [{ ...rest, budget }, name] as const)
  const after = { after: "1 second" }
  const tables: Readonly<Record<string, ReadonlyArray<readonly [options: unknown, field: string]>>> = {
    "Resilience.retry": [
      ...field("times", notCountsOrZero),
      ...field("schedule", ["1 second", 5, null, {}, Effect.void]),
      ...field("while", [true, null, "yes"]),
      ...field("waitForCircuit", durations),
      ...inBudget({}),
      [{ retries: 3 }, "retries"],
      [5, "times"],
      [null, "times"]
    ],
    "Resilience.hedge": [
      ...field("after", durations),
      ...field("after", ["p0", "p100", "p-1", "p95%", "P95", "p"]),
      ...field("copies", notCounts, after),
      ...field("min", durations, { after: "p95" }),
      ...field("max", durations, { after: "p95" }),
      ...field("min", [1], after),
      ...field("max", [1], after),
      ...field("max", [9], { after: "p95" }),
      ...field("max", [99], { after: "p95", min: 100 }),
      ...inBudget(after),
      [{ ...after, times: 1 }, "times"],
      [{}, "after"],
      [undefined, "after"]
    ],
    "Resilience.rateLimit": [
      ...field("key", ["", 1, null, undefined], { limit: 1, window: 1 }),
      ...field("limit", notCounts, { key: "a", window: 1 }),
      ...field("window", durations, { key: "a", limit: 1 }),
      ...field("tokens", notCounts, limits),
      ...field("algorithm", ["leaky", 1, null], limits),
      ...field("onExceeded", ["wait", 1, null], limits),
      [{ ...limits, burst: 1 }, "burst"],
      [undefined, "key"]
    ],
    "Resilience.breaker": [
      ...field("key", [1, null]),
      ...field("classify", [true, null]),
      ...field("isFailure", [true, null]),
      ...field("isIgnored", [true, null]),
      [{ classify: () => Outcome.success, isFailure: () => true }, "isFailure"],
      [{ keys: "a" }, "keys"],
      [5, "key"],
      [null, "key"]
    ],
    "Resilience.standard": [
      ...field("timeout", durations),
      ...field("bulkhead", [true, 5, {}, { concurrency: 0 }]),
      ...field("retry", [true, -5, "2", null, { times: -1 }, { tries: 1 }]),
      ...field("breaker", [true, 5, false, null, { key: 1 }, { keys: "a" }]),
      ...field("fallback", [5, "a", null]),
      [{ hedge: { after: 1 } }, "hedge"],
      [5, "timeout"]
    ],
    "Resilience.bulkhead": [
      ...field("concurrency", notCounts),
      [{ concurrency: 1, size: 1 }, "size"],
      [null, "concurrency"]
    ]
  }
  const shown = (value: unknown): string =>
    typeof value === "object" && value !== null
      ? `{ ${Object.entries(value).map(([name, one]) => `${name}: ${shown(one)}`)} }`
      : typeof value === "string"
        ? JSON.stringify(value)
        : String(value)
  for (const [operation, table] of Object.entries(tables)) {
    for (const [options, name] of table) {
      it(`${operation} of ${shown(options)} names ${name}`, () => {
        const make = () => makes[operation]?.(options)
        // A part of a standard pipeline may speak for itself, as long as it says which it is.
        const says = new RegExp(
          operation === "Resilience.standard" ? `${name}|concurrency|key` : `^${operation}: .*${name}`
        )
        assert.throws(make, RangeError, says)
      })
    }
  }

  it("names, a timeout, a fallback and a limiter", () => {
    const wrong = wrongly
    for (const name of ["", 1, null, undefined]) {
      assert.throws(() => wrong(breaker)(name), RangeError, "Resilience.breaker")
      assert.throws(() => wrong(standard)(name), RangeError, "Resilience.")
    }
    for (const duration of [...durations, undefined]) {
      assert.throws(() => wrong(timeout)(duration), RangeError, /^Resilience\.timeout: duration/)
    }
    for (const orElse of [5, "a", null, undefined, {}]) {
      assert.throws(() => wrong(fallback)(orElse), RangeError, "Resilience.fallback")
    }
  })

  for (const limiter of [undefined, null, {}, 5, { consume: 1 }]) {
    it(`a limiter of ${shown(limiter)} throws where it is written`, () => {
      assert.throws(() => rateLimit(limiter as never, limits), RangeError, "Resilience.rateLimit: limiter")
    })
  }

  for (const part of [undefined, 5, {}, Effect.void, (self: unknown) => self]) {
    it(`a pipeline of ${shown(part).slice(0, 30)} throws where it is written`, () => {
      assert.throws(() => pipeline(part as never), RangeError, "Resilience.pipeline")
    })
  }
})

it("a deadline adds a TimeoutError and no requirement, in pipe and out of it", () => {
  type Within = Effect.Effect<string, Errors | Late, Http>
  expectTypeOf(Deadline.within(call, "1 second")).toEqualTypeOf<Within>()
  expectTypeOf(pipe(call, Deadline.within("1 second"))).toEqualTypeOf<Within>()
  expectTypeOf(pipe(call, timeout("1 second"), Deadline.within("1 second"))).toEqualTypeOf<Within>()
  expectTypeOf(Deadline.remaining).toEqualTypeOf<Effect.Effect<Duration.Duration>>()
  expectTypeOf(Deadline.attempt).toEqualTypeOf<Effect.Effect<number>>()
})
