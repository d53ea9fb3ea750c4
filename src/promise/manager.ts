import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import { healthOf } from "../breaker/health.ts"
import { keyByHand } from "../breaker/options.ts"
import { printable, show } from "../core/printable.ts"
import { count, decodeOrThrow, field, functionField, isRecord, onlyFields, text } from "../shapes/fields.ts"
import { isRejection, noteRaisedByUser } from "../shapes/rejections.ts"
import { distributedState } from "./distributed.ts"
import { asConfigurationError, ConfigurationError, ShutdownError, TimeoutError, toPlain } from "./errors.ts"
import { Home } from "./home.ts"
import { countsOf, toMetrics, unused } from "./metrics.ts"
import { type Checked, check } from "./options.ts"
import { isAbortByCaller, isAborted, isSignal, reasonOf } from "./signals.ts"
import type {
  AggregateMetrics,
  BreakerEvent,
  ByHand,
  CallContext,
  CallOptions,
  DistributedState,
  EventName,
  Metrics,
  Released,
  Signal,
  State,
  Time
} from "./types.ts"

// biome-ignore lint/suspicious/noExplicitAny: the types of the function are not known here
type AnyFunction = (this: any, ...args: any) => unknown

const wasShutDown = (name: string) => new ShutdownError(printable(`The breaker "${name}" was shut down`))

const signalField = field<Signal>("an AbortSignal", (input) => (isSignal(input) ? input : undefined))
const keyField = field<string>("a text", (input) => (typeof input === "string" ? input : undefined))
const callFields = { key: Schema.optional(keyField), signal: Schema.optional(signalField) }

const checkedCall = (call: unknown, options: unknown): CallOptions =>
  asConfigurationError(() => {
    decodeOrThrow("run", { call: functionField }, { call })
    return decodeOrThrow("run", callFields, options)
  })

/** Calls the function. If it throws, the promise rejects. */
const begin = async (call: (signal: AbortSignal) => unknown, signal: AbortSignal): Promise<unknown> => call(signal)

/** The value of an exit, or its error. */
const answerOf = <A>(exit: Exit.Exit<A, unknown>): A => {
  if (exit._tag === "Failure") throw Cause.squash(exit.cause)
  return exit.value
}

const events: ReadonlyArray<EventName> = ["open", "halfOpen", "close", "isolate", "disable", "transition"]

/** The circuits of one name and the function that they protect. */
export class PlainBreaker {
  readonly name: string
  private readonly home: Home
  private readonly checked: Checked
  readonly fn: AnyFunction

  constructor(home: Home, checked: Checked, fn: AnyFunction) {
    this.home = home
    this.checked = checked
    this.fn = fn
    this.name = checked.name
  }

  readonly execute = (...args: ReadonlyArray<unknown>): Promise<unknown> =>
    this.call({}, args, (signal) => this.fn.apply({ signal } satisfies CallContext, [...args]))

  readonly with = (options: CallOptions) => {
    const checked = asConfigurationError(() => decodeOrThrow("with", callFields, options))
    return {
      execute: (...args: ReadonlyArray<unknown>) =>
        this.call(checked, args, (signal) => this.fn.apply({ signal } satisfies CallContext, [...args]))
    }
  }

  readonly run = async <B>(
    call: (context: CallContext) => B | PromiseLike<B>,
    options: CallOptions = {}
  ): Promise<B> => {
    return this.call(checkedCall(call, options), undefined, (signal) => call({ signal })) as Promise<B>
  }

  /** Calls the function with `self` as its `this`. */
  bound(self: unknown, args: ReadonlyArray<unknown>): Promise<unknown> {
    return this.call({}, args, () => this.fn.apply(self, [...args]))
  }

  /** `args` are the arguments of the function, which the fallback receives. Without them there is no fallback. */
  private async call(
    { key, signal }: CallOptions,
    args: ReadonlyArray<unknown> | undefined,
    call: (signal: AbortSignal) => unknown
  ): Promise<unknown> {
    const { around, fallback, name, probeTimeoutMillis } = this.checked
    if (this.home.isShutDown) throw wasShutDown(name)
    if (isAborted(signal)) throw reasonOf(signal)
    let late: TimeoutError | undefined
    let abandoned: { readonly error: unknown } | undefined
    let running: Promise<unknown> | undefined
    /** Why an attempt is interrupted: its caller left, or it or its probe took too long. */
    const reason = () =>
      isAborted(signal) ? reasonOf(signal) : (late ?? new TimeoutError(name, probeTimeoutMillis(key)))
    const attempt = Effect.callback<unknown, unknown>((resume) => {
      // A signal may have been aborted without an event, while the attempt waited.
      running = undefined
      if (isAborted(signal)) return resume(Effect.interrupt)
      const controller = new AbortController()
      running = begin(call, controller.signal)
      running.then(
        (value) => resume(Effect.succeed(value)),
        (error) => {
          if (isAbortByCaller(error, signal, args)) {
            // The circuit sees an interruption, because the caller gave up the call.
            abandoned = { error }
            return resume(Effect.interrupt)
          }
          if (isRejection(error)) noteRaisedByUser(error)
          return resume(Effect.fail(error))
        }
      )
      return Effect.sync(() => controller.abort(reason()))
    })
    const onLate = (error: TimeoutError) => {
      late = error
    }
    const effect = around(attempt, key, onLate, () => running) as Effect.Effect<
      unknown,
      unknown,
      BreakerStore.BreakerStore
    >
    const exit = await this.home.run(effect, signal)
    if (exit._tag === "Success") return exit.value
    if (Cause.hasInterruptsOnly(exit.cause)) {
      if (isAborted(signal)) throw reasonOf(signal)
      if (abandoned !== undefined) throw abandoned.error
    }
    const failed = Cause.findErrorOption(exit.cause)
    if (failed._tag === "Some" && isRejection(failed.value) && ++rejections % rejectionsPerTurn === 0) await turn()
    const error = failed._tag === "Some" ? toPlain(failed.value) : Cause.squash(exit.cause)
    if (fallback === undefined || args === undefined) throw error
    return fallback(error, ...args)
  }

  get state(): State {
    return this.home.look(CircuitBreaker.state(this.name)) ?? "Closed"
  }

  get metrics(): Metrics {
    return this.inspect()
  }

  readonly inspect = (key?: string): Metrics => {
    asConfigurationError(() => decodeOrThrow("inspect", { key: Schema.optional(keyField) }, { key }))
    const found = this.home.look(CircuitBreaker.inspect(this.name, { key }))
    return found === undefined ? unused(this.name, key) : toMetrics(found)
  }

  readonly on = (event: EventName, listener: (event: BreakerEvent) => void): (() => void) =>
    listen(this.home, event, onlyOf(this.name, listener), listener)

  readonly distributedState = async (key?: string): Promise<DistributedState | undefined> => {
    const { inline } = this.checked.subject
    asConfigurationError(() => keyByHand("distributedState", key))
    if (this.home.isShutDown) throw wasShutDown(this.name)
    return inline?.fleet === false
      ? undefined
      : answerOf(await this.home.run(distributedState(this.name, key), undefined))
  }

  readonly reset = (options?: ByHand) => this.steer((target) => CircuitBreaker.reset(this.name, target), options)
  readonly open = (options?: ByHand & { readonly for?: Time }) =>
    this.steer((target) => CircuitBreaker.open(this.name, target), options)
  readonly close = (options?: ByHand) => this.steer((target) => CircuitBreaker.close(this.name, target), options)
  readonly isolate = (options?: ByHand & { readonly for?: Time }) =>
    this.steer((target) => CircuitBreaker.isolate(this.name, target), options)
  readonly disable = (options?: ByHand & { readonly for?: Time }) =>
    this.steer((target) => CircuitBreaker.disable(this.name, target), options)
  readonly release = async (options?: ByHand): Promise<Released> => {
    const { ended, state } = await this.steered((target) => CircuitBreaker.release(this.name, target), options)
    return { state, ended: ended.map((one) => ({ until: Infinity, actor: undefined, ...one })) }
  }

  private async steer(...how: Parameters<typeof this.steered>): Promise<void> {
    await this.steered(...how)
  }

  private async steered<A>(
    act: (options: CircuitBreaker.ByHandFor | undefined) => Effect.Effect<A, never, BreakerStore.BreakerStore>,
    options: (ByHand & { readonly for?: Time }) | undefined
  ): Promise<A> {
    if (this.home.isShutDown) throw wasShutDown(this.name)
    const acted = asConfigurationError(() => act(options as CircuitBreaker.ByHandFor | undefined), "CircuitBreaker.")
    return answerOf(await this.home.run(acted, undefined))
  }
}

/** Defined outside the class, because the store keeps its listeners: a closure made in a method would keep the breaker alive. */
const onlyOf =
  (name: string, listener: (event: BreakerEvent) => void) =>
  (seen: BreakerEvent): void => {
    if (seen.name === name) listener(seen)
  }

const listen = (
  home: Home,
  event: EventName,
  listener: (event: BreakerEvent) => void,
  given: unknown
): (() => void) => {
  if (!events.includes(event)) {
    throw new ConfigurationError(`on: event must be one of ${events.join(", ")}, got ${show(event)}`)
  }
  if (typeof given !== "function") throw new ConfigurationError(`on: listener must be a function, got ${show(given)}`)
  return home.on(event, listener)
}

/** Which options are for a manager. */
export const managerFields = ["redis", "maxCircuits", "log", "defaults"]

/** A URL may contain a password, so errors do not show it. */
const isRedisUrl = (input: unknown): input is string =>
  typeof input === "string" && /^rediss?:\/\//.test(input) && URL.canParse(input)

const homeOf = (operation: string, options: object): Home => {
  const { log, maxCircuits, redis } = decodeOrThrow(
    operation,
    {
      redis: Schema.optional(Schema.Unknown),
      maxCircuits: Schema.optional(count),
      log: Schema.optional(functionField)
    },
    options
  )
  if (redis === undefined) return new Home({ redis, maxCircuits, log })
  const { url, ...rest } = isRecord(redis) ? redis : { url: redis }
  const expected = `${operation}: redis: expected a URL such as redis://localhost:6379`
  if (!isRedisUrl(url) && typeof url !== "function") throw new RangeError(`${expected}, or a function that returns one`)
  const urlOf = async (): Promise<string> => {
    const found: unknown = typeof url === "function" ? await url() : url
    if (!isRedisUrl(found)) throw new RangeError(`${expected} from the function`)
    return found
  }
  const checked = decodeOrThrow(
    `${operation}: redis`,
    { prefix: Schema.optional(text), process: Schema.optional(text) },
    rest
  )
  return new Home({ redis: { url: urlOf, ...checked }, maxCircuits, log })
}

/** The options that are set. An option that is `undefined` does not replace the default of the manager. */
const given = (options: object): object =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

const { setImmediate: soon = (run: () => void) => setTimeout(run, 0) } = globalThis as {
  readonly setImmediate?: (run: () => void) => unknown
}

/**
 * After this number of rejections, one rejection waits for a turn of the event loop. A loop that calls an open circuit again and again
 * would otherwise run only microtasks, so that no timer and no I/O could run.
 */
const rejectionsPerTurn = 1_000
let rejections = 0

const turn = (): Promise<void> => new Promise((resolve) => void soon(() => resolve()))

/** Several breakers with one store. */
export class PlainManager {
  private readonly home: Home
  private readonly breakers = new Map<string, PlainBreaker>()
  private readonly defaults: object

  constructor(operation: string, options: unknown) {
    const { defaults = {}, ...rest } = onlyFields(operation, managerFields, options) as {
      readonly defaults?: object
    }
    if (!isRecord(defaults)) throw new RangeError(`${operation}: defaults: expected an object, got ${show(defaults)}`)
    // Report invalid defaults here, and not when the first breaker is created.
    check(`${operation}: defaults`, "defaults", defaults, [])
    this.defaults = defaults
    this.home = homeOf(operation, rest)
  }

  /** `more` are the options that the caller has already read. Errors about unknown options list them, too. */
  add(operation: string, name: unknown, fn: unknown, options: object, more: ReadonlyArray<string> = []): PlainBreaker {
    if (typeof fn !== "function") throw new RangeError(`${operation}: expected a function, got ${show(fn)}`)
    if (!isRecord(options)) throw new RangeError(`${operation}: options: expected an object, got ${show(options)}`)
    const checked = check(operation, name, { ...this.defaults, ...given(options) }, more)
    if (this.breakers.has(checked.name)) {
      throw new RangeError(`${operation}: name: there is a breaker ${show(checked.name)} already`)
    }
    const breaker = new PlainBreaker(this.home, checked, fn as AnyFunction)
    this.breakers.set(checked.name, breaker)
    this.home.declare(checked.subject)
    return breaker
  }

  readonly register = (name: string, fn: unknown, options: object = {}): PlainBreaker =>
    asConfigurationError(() => this.add("register", name, fn, options))

  readonly get = (name: string): PlainBreaker | undefined => this.breakers.get(name)

  get names(): ReadonlyArray<string> {
    return [...this.breakers.keys()]
  }

  readonly aggregateMetrics = (): AggregateMetrics => {
    const used = this.home.look(CircuitBreaker.list) ?? []
    const { failureRate, healthy } = healthOf(used)
    const idle = this.names.filter((name) => !used.some(({ circuit }) => circuit === name))
    const breakers = [...used.map(toMetrics), ...idle.map((name) => unused(name, undefined))]
    const sum = (of: (one: Metrics) => number) => breakers.reduce((all, one) => all + of(one), 0)
    return {
      circuits: breakers.length,
      healthy: healthy + idle.length,
      open: sum(({ state }) => (state === "Open" ? 1 : 0)),
      down: sum(({ outage }) => (outage === undefined ? 0 : 1)),
      ...countsOf((name) => sum((one) => one[name])),
      inFlight: sum(({ inFlight }) => inFlight),
      failureRate,
      breakers
    }
  }

  readonly on = (event: EventName, listener: (event: BreakerEvent) => void): (() => void) =>
    listen(this.home, event, listener, listener)

  readonly exportAll = async (): Promise<string> => {
    if (this.home.isShutDown) {
      throw new ShutdownError("exportAll: the circuits are gone after shutdown; call exportAll before shutdown")
    }
    return answerOf(await this.home.run(BreakerStore.exportAll, undefined))
  }

  readonly importAll = async (json: string): Promise<number> => {
    if (this.home.isShutDown) {
      throw new ShutdownError(
        "importAll: no circuits can be imported after shutdown; import them into a new manager or breaker"
      )
    }
    const exit = await this.home.run(Effect.result(BreakerStore.importAll(json)), undefined)
    const result = answerOf(exit)
    if (result._tag === "Failure") throw new ConfigurationError(result.failure.message)
    return result.success
  }

  readonly ready = async (): Promise<void> => {
    await this.home.ready
  }

  readonly shutdown = (): Promise<void> => this.home.shutdown()

  readonly [Symbol.asyncDispose] = (): Promise<void> => this.home.shutdown()
}
