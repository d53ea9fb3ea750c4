import { assert, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Logger, References, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker, CircuitOpen, Trip } from "effect-fuse"

/** The policy of most tests: opens at the first failure, for 10 seconds. */
export const quick: BreakerPolicy.Input = { trip: Trip.consecutive(1), cooldown: "10 seconds" }

type Input = BreakerPolicy.Input | { readonly breakers: Readonly<Record<string, BreakerPolicy.Input>> }

export const settings = (input: Input): BreakerPolicy.Settings =>
  "breakers" in input ? { default: quick, breakers: input.breakers } : { default: input }

type Steps<E> = () => Generator<Effect.Effect<unknown, E, BreakerStore.BreakerStore | Scope.Scope>, unknown, never>

/** A test with a store and policies of its own: one policy for every name, or some by name over {@link quick}. */
export const scenario = <E>(name: string, input: Input, body: Steps<E>): void =>
  it.effect(name, () =>
    Effect.gen(body).pipe(
      Effect.provide(BreakerStore.layerMemory),
      Effect.provide(BreakerPolicy.layer(settings(input)))
    )
  )

export interface At {
  readonly name?: string
  readonly key?: string | undefined
}

const at = ({ key, name = "api" }: At) => [name, { key }] as const

/** Runs an effect on a circuit, `api` unless said otherwise. */
export const call = <A, E>(self: Effect.Effect<A, E>, where: At = {}) => CircuitBreaker.protect(self, ...at(where))

/** The exit of a call that the dependency answers. */
export const succeed = (where: At = {}) => Effect.exit(call(Effect.succeed("ok"), where))

/** The exit of a call that the dependency refuses. */
export const fail = (where: At = {}) => Effect.exit(call(Effect.fail("boom"), where))

export const times = <A, E, R>(n: number, self: Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: n }), () => self)

/** Makes calls one after the other, `F` for one that fails and `S` for one that succeeds. */
export const play = (pattern: string, where: At = {}) =>
  Effect.forEach(pattern, (letter) => (letter === "F" ? Effect.asVoid(fail(where)) : Effect.asVoid(succeed(where))), {
    discard: true
  })

export const state = (where: At = {}) => CircuitBreaker.state(...at(where))
export const inspect = (where: At = {}) => CircuitBreaker.inspect(...at(where))

export const expectState = (expected: string, where: At = {}) =>
  Effect.map(state(where), (actual) => assert.strictEqual(actual, expected))

/** Makes a call that the circuit must reject without running it. Returns the rejection. */
export const reject = (where: At = {}) =>
  Effect.suspend(() => {
    let ran = false
    const self = Effect.sync(() => {
      ran = true
    })
    return Effect.map(Effect.exit(call(self, where)), (exit) => {
      assert.isFalse(ran, "the call was made")
      return rejectionIn(exit)
    })
  })

/** The rejection with which a call ended. */
export const rejectionIn = (exit: Exit.Exit<unknown, unknown>): CircuitOpen.CircuitOpen => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
  if (!CircuitOpen.isCircuitOpen(error)) return assert.fail(`expected a CircuitOpen, got ${exit}`)
  return error
}

/** Makes a call that must succeed. */
export const pass = (where: At = {}) =>
  Effect.map(succeed(where), (exit) => assert.isTrue(Exit.isSuccess(exit), `expected the call to pass, got ${exit}`))

/** A call that has begun and hangs. */
export interface Hanging {
  readonly fiber: Fiber.Fiber<string, string | CircuitOpen.CircuitOpen>
  /** Ends the call with this exit, and waits until it has ended. */
  readonly end: (exit: Exit.Exit<string, string>) => Effect.Effect<Exit.Exit<string, string | CircuitOpen.CircuitOpen>>
  /** Interrupts the call, and waits until it has ended. */
  readonly interrupt: Effect.Effect<void>
}

/** Begins a call that hangs until it is told how to end. */
export const hang = (where: At = {}, options: { readonly uninterruptible?: boolean } = {}) =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const answer = yield* Deferred.make<string, string>()
    const waiting = Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(answer))
    const self = call(options.uninterruptible === true ? Effect.uninterruptible(waiting) : waiting, where)
    const fiber = yield* Effect.forkDetach(self, { startImmediately: true })
    yield* Effect.raceFirst(Deferred.await(begun), Fiber.await(fiber))
    const hanging: Hanging = {
      fiber,
      end: (exit) => Effect.andThen(Deferred.done(answer, exit), Fiber.await(fiber)),
      interrupt: Fiber.interrupt(fiber)
    }
    return hanging
  })

/** Makes a call with this duration and this exit. */
export const lasting = (millis: number, exit: Exit.Exit<string, string> = Exit.succeed("ok")) =>
  Effect.gen(function* () {
    const one = yield* hang()
    yield* TestClock.adjust(millis)
    return yield* one.end(exit)
  })

/** Lets all fibers run until they wait. */
const breathe = times(20, Effect.yieldNow)

/** Collects the events of the store from now on. The effect that it returns reads the events so far. */
export const recordEvents = Effect.gen(function* () {
  const seen: Array<BreakerEvent.BreakerEvent> = []
  const collect = Stream.runForEach(CircuitBreaker.events, (event) => Effect.sync(() => seen.push(event)))
  yield* Effect.forkChild(collect, { startImmediately: true })
  yield* breathe
  return Effect.as(breathe, seen)
})

export interface Line {
  readonly level: string
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** Runs an effect with a logger that keeps its lines, at every level. */
export const capture = <A, E, R>(lines: Array<Line>, self: Effect.Effect<A, E, R>) =>
  self.pipe(
    Effect.withLogger(
      Logger.make(({ fiber, logLevel, message }) => {
        lines.push({
          level: logLevel,
          message: Array.isArray(message) ? message.map(String).join(" ") : String(message),
          annotations: { ...Context.get(fiber.context, References.CurrentLogAnnotations) }
        })
      })
    ),
    Effect.provideService(References.MinimumLogLevel, "All")
  )

/** Starts an effect in a child fiber before it returns. */
export const start = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

/** The error or defect of an exit, or `undefined` if it is a success. */
export const errorOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
