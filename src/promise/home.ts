import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import type { Subject } from "../breaker/protect.ts"
import { foreignText } from "../core/foreign.ts"
import { storeAnnotation } from "../store/unconnected.ts"
import { background, foreground } from "./clock.ts"
import type { DirectCircuits } from "./direct.ts"
import type { RedisUrlOptions } from "./redis.ts"
import { onAbort, unlessAborted } from "./signals.ts"
import type { BreakerEvent, EventName, Signal } from "./types.ts"

type StoreService = BreakerStore.BreakerStore
type Services = Context.Context<StoreService>

export interface HomeOptions {
  readonly redis: RedisUrlOptions | undefined
  readonly maxCircuits: number | undefined
  readonly log: ((level: string, message: string) => void) | undefined
}

type Listener = (event: BreakerEvent) => void

const names: Readonly<Record<BreakerEvent["to"], EventName>> = {
  Open: "open",
  HalfOpen: "halfOpen",
  Closed: "close",
  Isolated: "isolate",
  Disabled: "disable"
}

/** A log message as one text. */
const textOf = (message: unknown): string => {
  const parts: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
  return parts.map((part) => (typeof part === "string" ? part : foreignText(part))).join(" ")
}

/** Uses `process.emitWarning` of Node, Bun and Deno, or otherwise the console, because this module must not require Node. */
const emitWarning = (text: string): void => {
  const { process } = globalThis as {
    readonly process?: { readonly emitWarning?: (text: string, options: object) => void }
  }
  if (typeof process?.emitWarning === "function") process.emitWarning(text, { type: "EffectFuseWarning" })
  // biome-ignore lint/suspicious/noConsole: no other output exists on every platform
  else globalThis.console?.warn(`EffectFuseWarning: ${text}`)
}

/**
 * Without `log`, the only output is one warning if the store cannot be used, because it is easy to overlook that the process works
 * alone.
 */
const warnOnce = () => {
  let warned = false
  return Logger.make(({ fiber, message }) => {
    if (warned || fiber.getRef(References.CurrentLogAnnotations)[storeAnnotation] === undefined) return
    warned = true
    emitWarning(textOf(message))
  })
}

const logging = (log: HomeOptions["log"]): Layer.Layer<never> =>
  Logger.layer([
    log === undefined
      ? warnOnce()
      : Logger.make(({ logLevel, message }) => log(logLevel.toLowerCase(), textOf(message)))
  ])

/** The maximum duration of a shutdown. */
const shutdownMillis = 2_000

type Listeners = Map<EventName, Set<Listener>>

const emit = (listeners: Listeners, event: BreakerEvent): void => {
  const interested = [...(listeners.get(names[event.to]) ?? []), ...(listeners.get("transition") ?? [])]
  for (const listener of interested) {
    try {
      listener(event)
    } catch (error) {
      // A listener's error does not affect the circuit. It is reported as an uncaught exception.
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

/** Passes the events of a store to listeners until the scope closes. */
const listen = (listeners: Listeners, services: Services, scope: Scope.Scope): Effect.Effect<unknown> => {
  const heard = Stream.runForEach(CircuitBreaker.events, (event) =>
    Effect.sync(() => {
      if (event._tag !== "Transition") return
      const { actor, at, circuit, detail, downForMillis, from, key, outage, retryAfterMillis, scope, to, why } = event
      emit(listeners, {
        name: circuit,
        key,
        from,
        to,
        why,
        detail,
        actor,
        at,
        retryAfter: retryAfterMillis ?? Infinity,
        outage: outage && { since: outage.at, openings: outage.openings },
        downFor: downForMillis,
        scope
      })
    })
  )
  return Effect.forkIn(Effect.provideContext(heard, services), scope, { startImmediately: true })
}

const close = (scope: Scope.Closeable): Effect.Effect<unknown> =>
  Effect.timeoutOption(Scope.close(scope, Exit.void), shutdownMillis)

/**
 * Closes the store when the program has dropped its home without a shutdown. Otherwise, the timers of health checks would run for
 * ever. Some platforms have no `FinalizationRegistry`.
 */
const dropped =
  typeof FinalizationRegistry === "function"
    ? new FinalizationRegistry((scope: Scope.Closeable) => void Effect.runFork(close(scope)))
    : undefined

/**
 * The store of promise code, with its background work and its listeners. No background work may reference this object, so that it is
 * collected when the program has dropped all breakers that use it.
 */
export class Home {
  /** `undefined` until the store is ready. A store in memory is ready at once; a connection to Redis takes time. */
  private services: Services | undefined = undefined
  private circuitsOfStore: DirectCircuits | undefined = undefined
  private building: Promise<Services>
  private readonly scope = Scope.makeUnsafe()
  private readonly awake: Awake = new Awake()
  private readonly connected: boolean
  private readonly logsEvents: boolean
  private ended: Promise<void> | undefined = undefined
  /** Functions that declare the policies of breakers that were created before the store. */
  private readonly undeclared: Array<(services: Services) => void> = []
  private readonly listeners: Listeners = new Map()
  private isListening = false

  constructor({ log, maxCircuits, redis }: HomeOptions) {
    const { scope } = this
    dropped?.register(this, scope)
    const build = (store: Layer.Layer<StoreService, unknown>) =>
      Layer.buildWithScope(
        Layer.provideMerge(store, Layer.merge(logging(log), Layer.succeed(Clock.Clock, background))),
        scope
      )
    this.connected = redis !== undefined
    this.logsEvents = log !== undefined
    if (redis === undefined) {
      const made = Effect.runSync(build(BreakerStore.layerMemoryWith(maxCircuits === undefined ? {} : { maxCircuits })))
      this.building = Promise.resolve(this.use(ofCalls(made)))
      return
    }
    this.building = import("./redis.ts")
      .then(({ layerRedis }) => layerRedis(redis, maxCircuits))
      .then((layer) => Effect.runPromise(build(layer)))
      .then((services) => {
        const ready = ofCalls(services)
        for (const declare of this.undeclared.splice(0)) declare(ready)
        return this.use(ready)
      })
    // Every call rejects with this error. Without this handler, the error would also end a program that makes no call.
    this.building.catch(() => {})
  }

  /** Subscribes to the events of the store when the first listener is added. */
  private subscribe(): void {
    const { isListening, listeners, scope, services } = this
    if (isListening || services === undefined || listeners.size === 0) return
    this.isListening = true
    Effect.runSync(listen(listeners, Context.add(services, Clock.Clock, background), scope))
  }

  private use(services: Services): Services {
    this.services = services
    const registry = Context.get(services, BreakerStore.BreakerStore)
    registry.runtime.logsEvents = this.logsEvents
    this.circuitsOfStore = {
      registry,
      caller: registry.callerOf(services),
      run: (effect) => this.run(effect, undefined)
    }
    this.subscribe()
    return services
  }

  on(name: EventName, listener: Listener): () => void {
    const all = this.listeners.get(name) ?? new Set()
    this.listeners.set(name, all)
    // The same function twice is two listeners.
    const own: Listener = (event) => listener(event)
    all.add(own)
    this.subscribe()
    return () => void all.delete(own)
  }

  get isShutDown(): boolean {
    return this.ended !== undefined
  }

  /** Resolves when the store is ready, and rejects if it cannot be used. */
  get ready(): Promise<unknown> {
    return this.awake.while(this.building)
  }

  /** `undefined` until the store is ready. */
  get circuits(): DirectCircuits | undefined {
    return this.circuitsOfStore
  }

  async run<A>(
    effect: Effect.Effect<A, unknown, StoreService>,
    signal: Signal | undefined
  ): Promise<Exit.Exit<A, unknown>> {
    const services = this.services ?? (await this.awake.while(unlessAborted(this.building, signal)))
    const run =
      signal === undefined ? Effect.runPromiseExitWith(services)(effect) : runUntilAborted(services, effect, signal)
    return this.connected ? this.awake.while(run) : run
  }

  /** Declares the policy of a breaker now, or when the store is ready. Operations before the first call need the policy, too. */
  declare({ inline, name }: Subject): void {
    const declare = (services: Services) => {
      const registry = Context.get(services, BreakerStore.BreakerStore)
      registry.declare(name, registry.callerOf(services), inline)
    }
    if (this.services === undefined) this.undeclared.push(declare)
    else declare(this.services)
  }

  /** Runs an effect now; `undefined` if the store is not ready. */
  look<A>(effect: Effect.Effect<A, never, StoreService>): A | undefined {
    return this.services === undefined ? undefined : Effect.runSyncWith(this.services)(effect)
  }

  shutdown(): Promise<void> {
    this.ended ??= this.building
      .catch(() => {})
      .then(() => Effect.runPromise(close(this.scope)))
      .then(() => {})
    return this.awake.while(this.ended)
  }
}

/** The exit of an effect that is interrupted when a signal is aborted. */
const runUntilAborted = <A>(
  services: Services,
  effect: Effect.Effect<A, unknown, StoreService>,
  signal: Signal
): Promise<Exit.Exit<A, unknown>> =>
  new Promise((resolve) => {
    const fiber = Effect.runForkWith(services)(effect)
    const off = onAbort(signal, () => fiber.interruptUnsafe())
    fiber.addObserver((exit) => {
      off()
      resolve(exit)
    })
  })

/** Keeps the process alive while a caller waits for a promise, because the connection and the timers of the store do not. */
class Awake {
  private waiting = 0
  private timer: ReturnType<typeof setInterval> | undefined = undefined

  async while<A>(promise: Promise<A>): Promise<A> {
    if (this.waiting++ === 0) this.timer = setInterval(() => {}, 2 ** 31 - 1)
    try {
      return await promise
    } finally {
      if (--this.waiting === 0) clearInterval(this.timer)
    }
  }
}

/** The services for calls. Their timers keep the process alive, because a caller waits for them. */
const ofCalls = (services: Services): Services => Context.add(services, Clock.Clock, foreground)
