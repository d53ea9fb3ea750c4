/** Generated histories of a circuit, and how they are played: on the real thing, with the model beside it. */
import { isDeepStrictEqual } from "node:util"
import {
  Arbitrary,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Random,
  Schedule,
  Schema,
  type Scope,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import {
  type BreakerEvent,
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  type CircuitOpen,
  Outcome,
  Trip
} from "effect-fuse"
import * as M from "./model.ts"
import { eventOf, lookAt, type Outcome as Meaning, type Rejection, type Rules } from "./modelTrip.ts"

/** Each as likely as the others; a failing one is replaced by earlier ones. */
const oneOf = <const A extends string | number | boolean>(...values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.schema(Schema.Literals(values), {
    shrink: (value) => {
      const at = values.indexOf(value)
      return values.filter((_, i) => i === 0 || i === at >> 1 || i === at - 1).filter((_, i) => i < at)
    }
  })

const upTo = (n: number) => oneOf(...Array.from({ length: n }, (_, i) => i))

const leafTrip: Arbitrary.Arbitrary<Trip.Input> = Arbitrary.map(
  Arbitrary.all({
    kind: oneOf("consecutive", "failures", "failureRate", "slowRate", "weighted"),
    limit: oneOf(1, 2, 3),
    more: upTo(4),
    calls: oneOf(true, false),
    millis: oneOf(1000, 400, 5000),
    share: oneOf(0.5, 1 / 3, 0.25, 0.6, 1)
  }),
  ({ calls, kind, limit, millis, more, share }): Trip.Input => {
    const over: Trip.OverInput = calls ? limit + more : `${millis} millis`
    if (kind === "consecutive") return Trip.consecutive(limit)
    if (kind === "failures") return Trip.failures({ atLeast: limit, of: over })
    if (kind === "weighted") return Trip.weighted({ atLeast: limit, over })
    return Trip[kind]({ threshold: share, minimumCalls: limit, over })
  }
)

const anyTrip: Arbitrary.Arbitrary<Trip.Input> = Arbitrary.map(
  Arbitrary.all({ how: oneOf("first", "any", "all"), first: leafTrip, second: leafTrip }),
  ({ first, how, second }) => (how === "first" ? first : Trip[how](first, second))
)

const anyRules: Arbitrary.Arbitrary<Rules> = Arbitrary.all({
  trip: anyTrip,
  cooldown: Arbitrary.all({
    first: oneOf(1000, 250, 0, 7000),
    factor: oneOf(1, 2, 3),
    as: oneOf("schedule", "data", "jittered")
  }),
  maxCooldown: oneOf(60_000, 5000),
  probes: oneOf(1, 2, 3),
  successesToClose: oneOf(1, 2, 3),
  failuresToReopen: oneOf(1, 1, 2, 3),
  probeTimeout: oneOf(3000, 600),
  slowCall: oneOf(2000, 300),
  ramp: oneOf(0, 0, 1000, 4000),
  mode: oneOf("enforce", "enforce", "enforce", "observe")
})

const toPolicy = ({ cooldown: { as, factor, first }, ...rules }: Rules): BreakerPolicy.Input => {
  const jittered = as === "jittered"
  if (first === 0 || (factor === 1 && !jittered)) return { ...rules, cooldown: first }
  if (as === "schedule") return { ...rules, cooldown: Schedule.exponential(first, factor) }
  return { ...rules, cooldown: { exponential: first, jittered, ...(factor === 2 ? {} : { factor }) } }
}

type End = "fail" | "succeed" | "die" | "interrupt" | "ignore" | "answer"
type Reading = "default" | "classify" | "classifyEffect" | "predicates" | "stubborn"

interface Ending {
  readonly end: End
  readonly weight: number
  readonly retryAfter: number
}

const interruption: Ending = { end: "interrupt", weight: 1, retryAfter: 0 }

type ByHand = "open" | "close" | "reset" | "isolate" | "disable" | "release"

type Step =
  | { readonly do: "nothing" }
  | { readonly do: "begin"; readonly key: string | undefined; readonly reading: Reading }
  | { readonly do: "admit"; readonly key: string | undefined; readonly lease: number }
  | { readonly do: "end"; readonly which: number; readonly ending: Ending }
  | { readonly do: "call"; readonly key: string | undefined; readonly reading: Reading; readonly ending: Ending }
  | { readonly do: "ignoreMany"; readonly key: string | undefined; readonly times: number }
  | { readonly do: "advance"; readonly millis: number }
  | { readonly do: "advanceTo"; readonly boundary: number; readonly shift: number }
  | {
      readonly do: "pause"
      readonly key: string | undefined
      readonly millis: number
      readonly acts: ReadonlyArray<ByHand>
    }
  | { readonly do: ByHand; readonly key: string | undefined; readonly millis: number | undefined }

export const keys = [undefined, "a", ""] as const

const spread = (weights: Readonly<Record<string, number>>): ReadonlyArray<string> =>
  Object.entries(weights).flatMap(([name, weight]) => new Array<string>(weight).fill(name))

const onCalls = { nothing: 1, ignoreMany: 1, call: 28, begin: 18, admit: 5, end: 20, advance: 8, advanceTo: 14 }
const acts = spread({ ...onCalls, open: 3, close: 2, reset: 1, isolate: 2, disable: 1, release: 3, pause: 3 })
/** What is done once a circuit was isolated for a while. */
const pauses: ReadonlyArray<ReadonlyArray<ByHand>> = [[], ["release"], ["open", "release"], ["close", "release"]]
const ends = spread({ fail: 11, succeed: 7, die: 1, interrupt: 2, ignore: 2, answer: 1 }) as ReadonlyArray<End>

const anyStep = Arbitrary.map(
  Arbitrary.all({
    act: upTo(acts.length),
    key: upTo(10),
    reading: oneOf<Reading>("default", "classify", "classifyEffect", "predicates", "stubborn"),
    end: upTo(ends.length),
    weight: oneOf(1, 2, 0.5),
    retryAfter: oneOf(0, 0, 0, 1500, 6000),
    millis: oneOf(100, 1, 99, 250, 600, 1000, 3000, 20_000, 3_600_000),
    which: upTo(8),
    shift: oneOf(0, 0, -1, 1),
    timed: oneOf(true, false),
    look: oneOf(true, false)
  }),
  ({ act, end, key: k, look, millis, reading, retryAfter, shift, timed, weight, which }) => {
    const key = keys[k < 6 ? 0 : k < 9 ? 1 : 2]
    const ending: Ending = { end: ends[end] ?? "fail", weight, retryAfter }
    const what = acts[act] as Step["do"]
    const step = (): Step => {
      switch (what) {
        case "nothing":
          return { do: what }
        case "begin":
          return { do: what, key, reading }
        case "admit":
          return { do: what, key, lease: millis }
        case "end":
          return { do: what, which, ending }
        case "call":
          return { do: what, key, reading, ending }
        case "ignoreMany":
          return { do: what, key, times: 9 + (which % 3) }
        case "advance":
          return { do: what, millis }
        case "pause":
          return { do: what, key, millis, acts: pauses[which % pauses.length] ?? [] }
        case "advanceTo":
          return { do: what, boundary: which, shift }
        default:
          return { do: what, key, millis: timed ? millis : undefined }
      }
    }
    return { ...step(), look }
  }
)

export const anyRun = Arbitrary.all({
  rules: anyRules,
  start: oneOf(0, 1, 950, 12_345),
  steps: Arbitrary.array(anyStep, { minLength: 40, maxLength: 40 })
})

export interface Run {
  readonly rules: Rules
  readonly start: number
  readonly steps: ReadonlyArray<Step & { readonly look: boolean }>
}

class Fault {
  readonly end: Ending
  constructor(end: Ending) {
    this.end = end
  }
}

const told = ({ end, retryAfter, weight }: Ending): Outcome.Outcome => {
  if (end === "ignore") return Outcome.ignored
  return end === "answer" || end === "succeed" ? Outcome.success : Outcome.failure({ weight, retryAfter })
}

const classified = (exit: Exit.Exit<Ending, Fault>): Outcome.Outcome => {
  if (exit._tag === "Success") return Outcome.success
  const [reason] = exit.cause.reasons
  return reason?._tag === "Fail" ? told(reason.error.end) : Outcome.failure()
}

const readings: Readonly<Record<Reading, CircuitBreaker.Reading<Ending, Fault>>> = {
  default: {},
  classify: { classify: classified },
  classifyEffect: { classify: (exit) => Effect.succeed(classified(exit)) },
  stubborn: { classify: classified },
  predicates: { isIgnored: ({ end }) => end.end === "ignore", isFailure: ({ end }) => end.end !== "answer" }
}

/** What an ending means to a circuit, by how it is read. */
const meaning = ({ end, retryAfter, weight }: Ending, reading: Reading | "settled"): Meaning => {
  if (end === "interrupt") return { _tag: "Ignored" }
  if (end === "succeed") return { _tag: "Success" }
  if (reading !== "default" && end === "ignore") return { _tag: "Ignored" }
  if (reading !== "default" && end === "answer") return { _tag: "Success" }
  const says = end === "fail" && reading !== "default" && reading !== "predicates"
  return { _tag: "Failure", weight: says ? weight : 1, retryAfter: says ? retryAfter : 0 }
}

type Ended = Exit.Exit<unknown, Fault | CircuitOpen.CircuitOpen>

interface Held {
  readonly key: string | undefined
  readonly model: M.ModelCall | undefined
  readonly admitted: CircuitBreaker.Inspection | undefined
  readonly reading: Reading | "settled"
  readonly end: (ending: Ending) => Effect.Effect<Ended | undefined>
  readonly ended: () => Ended | undefined
}

/** What one step did, with everything about every circuit before and after it. */
export interface Seen {
  readonly step: Step
  readonly rejected: boolean
  /** Whose call ended, if one did, and whether its circuit has moved since it was admitted. */
  readonly settled: { readonly key: string | undefined; readonly stale: boolean } | undefined
  /** What was seen when the calls were admitted that are still running and can be interrupted. */
  readonly running: ReadonlyArray<CircuitBreaker.Inspection | undefined>
  readonly before: ReadonlyArray<CircuitBreaker.Inspection>
  readonly after: ReadonlyArray<CircuitBreaker.Inspection>
}

const rejectionOf = (exit: Ended | undefined): Rejection | undefined => {
  if (exit?._tag !== "Failure") return undefined
  const [reason] = exit.cause.reasons
  if (reason?._tag !== "Fail" || reason.error instanceof Fault) return undefined
  const { openings, reason: why, retryAfter, state } = reason.error
  return { state, reason: why, retryAfter: Duration.toMillis(retryAfter), openings }
}

export const name = "api"

const startCall = Effect.fnUntraced(function* (key: string | undefined, reading: Reading) {
  const gate = Deferred.makeUnsafe<Ending, Fault>()
  let started = false
  const stubborn = reading === "stubborn"
  const body = Effect.suspend(() => {
    started = true
    return stubborn ? Effect.uninterruptible(Deferred.await(gate)) : Deferred.await(gate)
  })
  const protectedBody = CircuitBreaker.protect(body, name, { ...readings[reading], key })
  const fiber = yield* Effect.forkChild(protectedBody, { startImmediately: true })
  for (let i = 0; !started && fiber.pollUnsafe() === undefined; i++) {
    if (i === 100) throw new Error("a call neither started nor was rejected")
    yield* Effect.yieldNow
  }
  const end = Effect.fnUntraced(function* (ending: Ending) {
    if (ending.end === "interrupt") yield* stubborn ? Deferred.interrupt(gate) : Fiber.interrupt(fiber)
    else if (ending.end === "succeed") yield* Deferred.succeed(gate, ending)
    else if (ending.end === "die") yield* Deferred.die(gate, ending)
    else yield* Deferred.fail(gate, new Fault(ending))
    return yield* Fiber.await(fiber)
  })
  return { end, ended: () => fiber.pollUnsafe() }
})

const startPermit = Effect.fnUntraced(function* (key: string | undefined, lease: number) {
  const exit = yield* Effect.exit(CircuitBreaker.admit(name, { key, lease }))
  const end = Effect.fnUntraced(function* (ending: Ending) {
    if (exit._tag === "Failure") return undefined
    const how = ending.end === "die" ? Exit.die(ending) : ending.end === "interrupt" ? Exit.interrupt(1) : told(ending)
    yield* CircuitBreaker.settle(exit.value, how)
    yield* CircuitBreaker.settle(exit.value, Outcome.failure())
    return undefined
  })
  return { end, ended: () => (exit._tag === "Failure" ? exit : undefined) }
})

const inspectAll = Effect.forEach(keys, (key) => CircuitBreaker.inspect(name, { key }))

/** Plays a run on the real thing. `observe` is given every step; without it every step is compared with the model. */
export const play = Effect.fnUntraced(function* (run: Run, observe?: (seen: Seen) => void) {
  yield* TestClock.adjust(run.start)
  const model = new M.Model(run.rules, run.start)
  const events: Array<BreakerEvent.BreakerEvent> = []
  yield* Effect.forkScoped(
    Stream.runForEach(CircuitBreaker.events, (event) => Effect.sync(() => events.push(event))),
    { startImmediately: true }
  )
  yield* Effect.yieldNow
  const trace: Array<string> = []
  let held: ReadonlyArray<Held> = []

  const agree = (what: string, real: unknown, expected: unknown): void => {
    if (observe !== undefined || isDeepStrictEqual(real, expected)) return
    const show = (value: unknown) => JSON.stringify(value, (_, v) => (v === Number.POSITIVE_INFINITY ? "Infinity" : v))
    throw new Error([`${what} at ${model.now}`, show(real), "but the model:", show(expected), ...trace].join("\n"))
  }

  const begin = Effect.fnUntraced(function* (key: string | undefined, reading: Reading | "settled", lease?: number) {
    const caller = reading === "settled" ? { lease: lease ?? 0 } : reading === "stubborn" ? reading : "effect"
    const expected = model.begin(key, caller)
    const call = yield* reading === "settled" ? startPermit(key, lease ?? 0) : startCall(key, reading)
    const rejection = rejectionOf(call.ended())
    agree("a call is admitted or rejected", rejection, M.isRejection(expected) ? expected : undefined)
    if (rejection !== undefined) return undefined
    const admitted = observe === undefined ? undefined : yield* CircuitBreaker.inspect(name, { key })
    const made: Held = { ...call, admitted, key, reading, model: M.isRejection(expected) ? undefined : expected }
    held = [...held, made]
    return made
  })

  const end = Effect.fnUntraced(function* (call: Held, ending: Ending) {
    held = held.filter((one) => one !== call)
    const expected = call.model && model.end(call.model, meaning(ending, call.reading))
    const exit = yield* call.end(ending)
    if (exit === undefined) return
    agree("a probe that ends too late is rejected", rejectionOf(exit), expected)
    if (expected === undefined) agree("a call keeps its end", exit._tag === "Success", ending.end === "succeed")
  })

  const advance = Effect.fnUntraced(function* (millis: number) {
    const interrupted = model.advance(millis)
    yield* TestClock.adjust(millis)
    for (const call of held) {
      const expected = call.model && interrupted.get(call.model)
      agree("a probe is interrupted when it is due", rejectionOf(call.ended()), expected)
    }
    held = held.filter((call) => call.reading === "settled" || call.ended() === undefined)
  })

  const byHand = Effect.fnUntraced(function* (act: ByHand, key: string | undefined, millis: number | undefined) {
    const actor = trace.length % 2 === 0 ? "ann" : "bob"
    const by = { key, reason: "a test", actor }
    if (act === "release") {
      const expected = model.release(key)
      const { ended, state } = yield* CircuitBreaker.release(name, by)
      const shown = ended.map(({ actor, state }) => `${state} by ${actor}`)
      agree("the overrides that it ended", shown, expected)
      agree("the state that then holds", state, model.look(key).state)
      return
    }
    const verb =
      act === "isolate" || act === "disable" || act === "open"
        ? CircuitBreaker[act](name, { ...by, for: millis })
        : CircuitBreaker[act](name, by)
    if (act === "isolate") model.force(key, "Isolated", millis, actor)
    else if (act === "disable") model.force(key, "Disabled", millis, actor)
    else if (act === "open") model.open(key, millis)
    else model[act](key)
    const state = yield* verb
    agree("the state that then holds", state, model.look(key).state)
  })

  let after = observe === undefined ? [] : yield* inspectAll
  for (const step of run.steps) {
    const before = after
    trace.push(`${model.now}: ${JSON.stringify(step)}`)
    let rejected = false
    let settled: Seen["settled"]
    switch (step.do) {
      case "nothing":
        break
      case "begin":
        rejected = (yield* begin(step.key, step.reading)) === undefined
        break
      case "admit":
        rejected = (yield* begin(step.key, "settled", step.lease)) === undefined
        break
      case "call": {
        const call = yield* begin(step.key, step.reading)
        rejected = call === undefined
        if (call !== undefined) yield* end(call, step.ending)
        break
      }
      case "ignoreMany":
        for (let i = 0; i < step.times; i++) {
          const call = yield* begin(step.key, "default")
          if (call !== undefined) yield* end(call, interruption)
        }
        break
      case "end": {
        const call = held[step.which % Math.max(1, held.length)]
        if (call === undefined) break
        settled = { key: call.key, stale: call.model !== undefined && model.isStale(call.model) }
        yield* end(call, step.ending)
        break
      }
      case "advance":
        yield* advance(step.millis)
        break
      case "advanceTo": {
        const boundaries = model.boundaries()
        const to = boundaries[step.boundary % Math.max(1, boundaries.length)]
        if (to !== undefined) yield* advance(Math.max(0, to + step.shift - model.now))
        break
      }
      case "pause":
        yield* byHand("isolate", step.key, step.acts.length === 0 ? step.millis : undefined)
        yield* advance(step.millis)
        for (const act of step.acts) yield* byHand(act, step.key, undefined)
        break
      default:
        yield* byHand(step.do, step.key, step.millis)
    }
    if (observe !== undefined) {
      after = yield* inspectAll
      const timed = held.filter((call) => call.reading !== "settled" && call.reading !== "stubborn")
      const running = timed.map((call) => call.admitted)
      observe({ step, rejected, settled, running, before, after })
    } else if (step.look) {
      for (const key of keys) {
        const real = yield* CircuitBreaker.inspect(name, { key })
        agree(`what is seen of ${key ?? "all"}`, lookAt(real), model.look(key))
      }
    }
  }
  for (let i = 0; i < 10; i++) yield* Effect.yieldNow
  agree("the events", events.map(eventOf), model.events)
  for (const call of held) yield* end(call, interruption)
  return events
})

export const alone = <A, E>(
  run: Run,
  body: Effect.Effect<A, E, BreakerStore.BreakerStore | Scope.Scope>
): Effect.Effect<A, E | BreakerPolicy.PolicyError> =>
  Effect.scoped(body).pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(BreakerPolicy.layer({ default: toPolicy(run.rules) })),
    Effect.provideService(Random.Random, { nextDoubleUnsafe: () => 0, nextIntUnsafe: () => 0 }),
    Effect.provide(Layer.fresh(TestClock.layer()))
  )
