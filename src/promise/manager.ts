import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import { healthOf } from "../breaker/health.ts"
import { circuitName, operatorKey } from "../breaker/options.ts"
import {
  type Decoded,
  decodeArgument,
  decodeOptions,
  type Field,
  functionField,
  optional,
  refused,
  struct,
  word
} from "../core/fields.ts"
import { printable, show } from "../core/printable.ts"
import { defaults } from "../policy/policy.ts"
import { isRejection, noteRaisedByUser } from "../shapes/rejections.ts"
import { type AnyFunction, type Called, invoke, OwnContext, ownContext } from "./called.ts"
import { callDirectly } from "./direct.ts"
import { distributedState } from "./distributed.ts"
import { asConfigurationError, ConfigurationError, ShutdownError, TimeoutError } from "./errors.ts"
import { failed } from "./failing.ts"
import { breakerFields, callFields, type DecodedProtection, keyField, protectionFields, storeFields } from "./fields.ts"
import { Home } from "./home.ts"
import { countsOf, toMetrics, unused } from "./metrics.ts"
import { type Checked, check } from "./options.ts"
import { toPlain } from "./plainErrors.ts"
import { isAbortByCaller, isAborted, reasonOf } from "./signals.ts"
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
  State,
  Time
} from "./types.ts"

const wasShutDown = (name: string) => new ShutdownError(printable(`The breaker "${name}" was shut down`))

const checkedCall = (call: unknown, options: unknown): CallOptions =>
  asConfigurationError(() => {
    decodeArgument("run", "call", functionField, call)
    return decodeOptions("run", callFields, options)
  })

/** Calls the function. If it throws, the promise rejects. */
const begin = async (...call: Parameters<typeof invoke>): Promise<unknown> => invoke(...call)

const noOptions: CallOptions = {}

/** The value of an exit, or its error. */
const answerOf = <A>(exit: Exit.Exit<A, unknown>): A => {
  if (exit._tag === "Failure") throw Cause.squash(exit.cause)
  return exit.value
}

const eventField: Field<EventName> = word("open", "halfOpen", "close", "isolate", "disable", "transition")

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
    this.call(noOptions, this.fn, ownContext, args)

  readonly with = (options: CallOptions) => {
    const checked = asConfigurationError(() => decodeOptions("with", callFields, options))
    return { execute: (...args: ReadonlyArray<unknown>) => this.call(checked, this.fn, ownContext, args) }
  }

  readonly run = async <B>(
    call: (context: CallContext) => B | PromiseLike<B>,
    options: CallOptions = {}
  ): Promise<B> => {
    return this.call(checkedCall(call, options), call, undefined, undefined) as Promise<B>
  }

  /** Calls the function with `self` as its `this`. */
  bound(self: unknown, args: ReadonlyArray<unknown>): Promise<unknown> {
    return this.call(noOptions, this.fn, self, args)
  }

  /** Makes a call; the parameters are those of {@link Called}. Nothing is allocated here for a call that needs no fiber. */
  private call(
    { key, signal }: CallOptions,
    fn: AnyFunction,
    self: unknown,
    args: ReadonlyArray<unknown> | undefined
  ): Promise<unknown> {
    const { checked, home } = this
    try {
      if (home.isShutDown) throw wasShutDown(checked.name)
      if (isAborted(signal)) throw reasonOf(signal)
      const { circuits } = home
      const { direct } = checked
      const made =
        direct === undefined || circuits === undefined
          ? undefined
          : callDirectly(direct, circuits, key, signal, fn, self, args)
      return made ?? this.callAsEffect({ fn, self, args, key, signal })
    } catch (error) {
      return Promise.reject(error)
    }
  }

  private async callAsEffect({ args, fn, key, self, signal }: Called): Promise<unknown> {
    const { around, fallback, name, rejectionStack } = this.checked
    let late: TimeoutError | undefined
    let abandoned: { readonly error: unknown } | undefined
    let running: Promise<unknown> | undefined
    /** Why an attempt is interrupted: its caller aborted it, or it exceeded `timeout` or `probeTimeout`. */
    const reason = () => {
      if (isAborted(signal)) return reasonOf(signal)
      return abandoned === undefined ? (late ?? new TimeoutError(name, this.probeTimeoutMillis(key))) : abandoned.error
    }
    const attempt = Effect.callback<unknown, unknown>((resume) => {
      running = undefined
      late = undefined
      // A signal may have been aborted without an event, while the attempt waited.
      if (isAborted(signal)) return resume(Effect.interrupt)
      const context = new OwnContext()
      running = begin(fn, self, args, context)
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
      return Effect.sync(() => OwnContext.abort(context, reason()))
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
    const found = Cause.findErrorOption(exit.cause)
    const error = found._tag === "Some" ? toPlain(found.value, rejectionStack) : Cause.squash(exit.cause)
    return failed(error, fallback, args)
  }

  private probeTimeoutMillis(key: string | undefined): number {
    const { circuits } = this.home
    const { inline } = this.checked.subject
    return (circuits?.registry.view(this.name, key, circuits.caller, inline).policy ?? defaults).probeTimeoutMillis
  }

  get state(): State {
    return this.home.look(CircuitBreaker.state(this.name)) ?? "Closed"
  }

  get metrics(): Metrics {
    return this.inspect()
  }

  readonly inspect = (key?: string): Metrics => {
    asConfigurationError(() => decodeArgument("inspect", "key", keyField, key))
    const found = this.home.look(CircuitBreaker.inspect(this.name, { key }))
    return found === undefined ? unused(this.name, key) : toMetrics(found)
  }

  readonly on = (event: EventName, listener: (event: BreakerEvent) => void): (() => void) =>
    listen(this.home, event, onlyOf(this.name, listener), listener)

  readonly distributedState = async (key?: string): Promise<DistributedState | undefined> => {
    const { inline } = this.checked.subject
    asConfigurationError(() => decodeArgument("distributedState", "key", operatorKey, key))
    if (this.home.isShutDown) throw wasShutDown(this.name)
    return inline?.fleet === false
      ? undefined
      : answerOf(await this.home.run(distributedState(this.name, key), undefined))
  }

  readonly reset = (options?: ByHand) => this.operate((target) => CircuitBreaker.reset(this.name, target), options)
  readonly open = (options?: ByHand & { readonly for?: Time }) =>
    this.operate((target) => CircuitBreaker.open(this.name, target), options)
  readonly close = (options?: ByHand) => this.operate((target) => CircuitBreaker.close(this.name, target), options)
  readonly isolate = (options?: ByHand & { readonly for?: Time }) =>
    this.operate((target) => CircuitBreaker.isolate(this.name, target), options)
  readonly disable = (options?: ByHand & { readonly for?: Time }) =>
    this.operate((target) => CircuitBreaker.disable(this.name, target), options)
  readonly release = async (options?: ByHand): Promise<Released> => {
    const { ended, state } = await this.operateWithResult(
      (target) => CircuitBreaker.release(this.name, target),
      options
    )
    return { state, ended: ended.map((one) => ({ until: Infinity, actor: undefined, ...one })) }
  }

  private async operate(...how: Parameters<typeof this.operateWithResult>): Promise<void> {
    await this.operateWithResult(...how)
  }

  private async operateWithResult<A>(
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
  asConfigurationError(() => {
    decodeArgument("on", "event", eventField, event)
    decodeArgument("on", "listener", functionField, given)
  })
  return home.on(event, listener)
}

export const managerFields = {
  ...storeFields,
  defaults: optional(struct(protectionFields))
}

/** Several breakers with one store. */
export class PlainManager {
  private readonly home: Home
  private readonly breakers = new Map<string, PlainBreaker>()
  private readonly defaults: DecodedProtection

  constructor({ defaults = {}, log, maxCircuits, redis }: Decoded<typeof managerFields>) {
    this.defaults = defaults
    this.home = new Home({ redis, maxCircuits, log })
  }

  /** Adds a breaker with decoded options, which replace the defaults of the manager. */
  add(operation: string, name: unknown, fn: unknown, options: DecodedProtection): PlainBreaker {
    const circuit = circuitName(operation, name)
    decodeArgument(operation, "fn", functionField, fn)
    if (this.breakers.has(circuit)) {
      throw refused(operation, "name", `expected a name that no other breaker has, got ${show(circuit)}`)
    }
    const checked = check(operation, circuit, { ...this.defaults, ...options })
    const breaker = new PlainBreaker(this.home, checked, fn as AnyFunction)
    this.breakers.set(checked.name, breaker)
    this.home.declare(checked.subject)
    return breaker
  }

  readonly register = (name: string, fn: unknown, options?: object): PlainBreaker =>
    asConfigurationError(() => this.add("register", name, fn, decodeOptions("register", protectionFields, options)))

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

/** A breaker with a manager of its own. */
export const alone = (
  operation: string,
  fn: unknown,
  { log, maxCircuits, name, redis, ...protection }: Decoded<typeof breakerFields>
): readonly [PlainManager, PlainBreaker] =>
  asConfigurationError(() => {
    const ownName = decodeArgument(operation, "fn", functionField, fn).name || "breaker"
    const manager = new PlainManager({ log, maxCircuits, redis })
    return [manager, manager.add(operation, name ?? ownName, fn, protection)]
  })

/** {@link alone}, with options that are not decoded yet. */
export const aloneWith = (operation: string, fn: unknown, options: unknown) =>
  alone(
    operation,
    fn,
    asConfigurationError(() => decodeOptions(operation, breakerFields, options))
  )
