/** One process: its breaker store over the network, its calls, its lives. It starts, ends, crashes and starts again. */
import { Clock, Context, Effect, Exit, Layer, Random, Scheduler, Scope, Stream } from "effect"
import { BreakerStore, CircuitBreaker, type CircuitOpen, Outcome, type SharedStore } from "effect-fuse"
import type { Dependency } from "./dependency.ts"
import type { History, Kind } from "./history.ts"
import type { Network } from "./network.ts"
import type { Chance } from "./random.ts"
import { Life, scheduler, type Timeline, VirtualClock } from "./timeline.ts"

/** How the calls of a simulation are protected. */
export type Protection =
  /** By `BreakerStore.layerShared`. */
  | "fleet"
  /** By `BreakerStore.layerMemory`, each process for itself. */
  | "local"
  /** By one store that every call asks before and tells afterwards, a round trip each. */
  | "exact"

/** What all processes of a simulation have in common. */
export interface World {
  readonly timeline: Timeline
  readonly history: History
  readonly dependency: Dependency
  /** The name of the circuit. */
  readonly circuit: string
  readonly protection: Protection
  /** By `protect`, or by `admit` and `settle`. */
  readonly via: "protect" | "admit"
  readonly syncInterval: number
  /** Makes another store of the one that each process has: for processes that are wrong on purpose. */
  readonly client: (store: SharedStore.SharedStore) => SharedStore.SharedStore
  /** Loggers and policies. */
  readonly services: Context.Context<never>
  /** The one store of `exact`. */
  readonly exact: Context.Context<BreakerStore.BreakerStore> | undefined
}

type Services = Context.Context<BreakerStore.BreakerStore>

type Protect = <A, E>(
  effect: Effect.Effect<A, E>
) => Effect.Effect<A, E | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>

/** A key of the circuit, or none. */
type Key = string | undefined

/** One life of a process. */
interface Run extends Life {
  readonly number: number
  readonly scope: Scope.Closeable
  readonly clock: VirtualClock
  services: Services | undefined
  ending: boolean
}

const hanging: Effect.Effect<never> = Effect.never

export class Process {
  readonly index: number
  readonly network: Network
  /** Calls that were rejected, in all its lives. */
  rejections = 0
  private readonly world: World
  private readonly chance: Chance
  private readonly protects = new Map<string | undefined, Protect>()
  private run: Run | undefined
  private lives = 0
  private turnsBefore = 0
  private wallOffset = 0
  private calls = 0

  constructor(index: number, world: World, network: Network, chance: Chance) {
    this.index = index
    this.world = world
    this.network = network
    this.chance = chance
  }

  /** Grows whenever something runs in this process, or a life of it begins or ends. In between only time passes for it. */
  get turns(): number {
    return this.turnsBefore + (this.run?.turns ?? 0)
  }

  /** Whether its calls are admitted or rejected, and not dropped. */
  get up(): boolean {
    return this.run?.services !== undefined && !this.run.ending
  }

  /** Its wall clock jumps; its monotonic clock does not. */
  jump(millis: number): void {
    this.wallOffset += millis
    if (this.run !== undefined) this.run.clock.wallOffset = this.wallOffset
  }

  /** Begins a life: builds the layer, which takes a while, and is up then. */
  start(): void {
    if (this.run?.alive === true) return
    const { timeline } = this.world
    const life = new Life()
    const clock = new VirtualClock(timeline, life, -Math.floor(this.chance.next() * 1e9) / 1000, this.wallOffset)
    const run: Run = Object.assign(life, {
      number: ++this.lives,
      scope: Scope.makeUnsafe(),
      clock,
      services: undefined,
      ending: false
    })
    this.turnsBefore = this.turns + 1
    this.run = run
    this.note("Started", run)
    const base = this.world.services.pipe(
      Context.add(Clock.Clock, clock),
      Context.add(Scheduler.Scheduler, scheduler(timeline, run)),
      Context.add(Random.Random, this.chance.fork().service)
    )
    const up = Effect.map(this.build(run), (built): void => {
      const services = Context.merge(base, built)
      run.services = services
      this.note("Up", run)
      Effect.runForkWith(services)(
        Stream.runForEach(CircuitBreaker.events, (event) =>
          Effect.sync(() => this.world.history.add({ _tag: "Event", ...this.at(run), event }))
        )
      )
    })
    Effect.runForkWith(base)(up)
    timeline.drain()
  }

  private build(run: Run): Effect.Effect<Services> {
    const { exact, protection, syncInterval } = this.world
    if (exact !== undefined) return Effect.succeed(exact)
    const layer =
      protection === "local"
        ? BreakerStore.layerMemory
        : BreakerStore.layerShared(this.world.client(this.network.store(run, run.number)), {
            syncInterval,
            process: `p${this.index}`
          })
    return Effect.orDie(Layer.buildWithScope(Layer.fresh(layer), run.scope))
  }

  /** Nothing of it goes on, and nobody is told. */
  crash(): void {
    const { run } = this
    if (run?.alive !== true) return
    run.alive = false
    run.services = undefined
    this.turnsBefore++
    this.note("Crashed", run)
  }

  /** Ends in good order: admits nothing more, and tells the store. */
  end(): void {
    const { run } = this
    const services = run?.services
    if (run === undefined || services === undefined || run.ending) return
    run.ending = true
    this.turnsBefore++
    this.note("Ending", run)
    const ended = Effect.map(Scope.close(run.scope, Exit.void), () => {
      run.alive = false
      run.services = undefined
      this.turnsBefore++
      this.note("Ended", run)
    })
    Effect.runForkWith(services)(ended)
    this.world.timeline.drain()
  }

  /** Stalls its event loop for this many milliseconds. */
  stall(millis: number): void {
    const { run } = this
    if (run?.alive !== true) return
    this.world.history.add({ _tag: "Stalled", ...this.at(run), millis })
    run.stall(this.world.timeline, millis)
  }

  /** Suspends the process: its event loop stalls, and its monotonic clock stands still, as on a machine that sleeps. */
  suspend(millis: number): void {
    this.stall(millis)
    this.run?.clock.stop(millis)
  }

  get isStalled(): boolean {
    return this.run?.isStalled === true
  }

  /** Makes a call if the process is up. If its event loop is stalled, the call begins after the stall. */
  call(key?: Key): void {
    const { run } = this
    if (run?.services === undefined) return
    run.onArrival(() => {
      const { services } = run
      if (services === undefined || run.ending) return
      const number = ++this.calls
      if (this.world.protection === "exact") this.callExactly(run, services, number, key)
      else if (this.world.via === "admit") this.callInTwoSteps(run, services, number, key)
      else {
        const call = this.protect(key)(this.request(run, services, number, key))
        this.observe(run, number, Effect.runForkWith(services)(call))
      }
      this.world.timeline.drain()
    })
  }

  /** Runs an effect in this process; it does not begin if the process is not up. */
  do<A, E>(effect: Effect.Effect<A, E, BreakerStore.BreakerStore>, then?: (exit: Exit.Exit<A, E>) => void): void {
    const { run } = this
    if (run?.services === undefined) return
    run.onArrival(() => {
      const { services } = run
      if (services === undefined || run.ending) return
      const fiber = Effect.runForkWith(services)(effect)
      if (then !== undefined) fiber.addObserver(then)
      this.world.timeline.drain()
    })
  }

  /** The inspection of its circuit (of a key). `undefined` while the process is down. */
  look(key?: Key): CircuitBreaker.Inspection | undefined {
    const services = this.run?.services
    if (services === undefined) return undefined
    return Effect.runSyncWith(services)(CircuitBreaker.inspect(this.world.circuit, keyed(key)))
  }

  private protect(key: Key): Protect {
    const known = this.protects.get(key)
    if (known !== undefined) return known
    const made: Protect = CircuitBreaker.protect(this.world.circuit, keyed(key))
    this.protects.set(key, made)
    return made
  }

  // ---- Calls --------------------------------------------------------------------------------------------------------

  /** The call itself, which begins when it is admitted. */
  private request(run: Run, services: Services, call: number, key: Key): Effect.Effect<void, string> {
    return Effect.suspend(() => {
      const { history, timeline } = this.world
      const kind = this.admitted(run, services, call, key)
      const { latency, ok } = this.arrive(key)
      const outcome = ok ? "Success" : "Failure"
      let ended = false
      const settled = (outcome: "Success" | "Failure" | "Interrupted"): void => {
        if (ended) return
        ended = true
        this.world.dependency.running--
        if (history.detail === "all") history.add({ _tag: "Settled", ...this.at(run), call, key, kind, outcome })
      }
      if (latency <= 0) {
        settled(outcome)
        return ok ? Effect.void : failed
      }
      const interrupted = Effect.sync(() => settled("Interrupted"))
      if (latency === Infinity) return Effect.onInterrupt(hanging, () => interrupted)
      return Effect.callback<void, string>((resume) => {
        const planned = timeline.after(latency, () => {
          if (!run.alive) {
            this.world.dependency.running--
            return
          }
          run.onArrival(() => {
            settled(outcome)
            resume(ok ? Effect.void : failed)
          })
        })
        return Effect.andThen(
          Effect.sync(() => timeline.cancel(planned)),
          interrupted
        )
      })
    })
  }

  private arrive(key: Key) {
    const { dependency, timeline } = this.world
    dependency.running++
    return dependency.answer(timeline.now, this.index, key)
  }

  /** The kind is read from the state that holds just after it was admitted. */
  private admitted(run: Run, services: Services, call: number, key: Key): Kind {
    const { circuit, history } = this.world
    if (history.detail !== "all") return "normal"
    const state = Effect.runSyncWith(services)(CircuitBreaker.state(circuit, keyed(key)))
    const kind = state === "HalfOpen" ? "probe" : state === "Closed" ? "normal" : "pass"
    history.add({ _tag: "Admitted", ...this.at(run), call, key, kind })
    return kind
  }

  private callInTwoSteps(run: Run, services: Services, call: number, key: Key, answerDelay = 0): void {
    const { circuit, history, timeline } = this.world
    const fork = Effect.runForkWith(services)
    fork(CircuitBreaker.admit(circuit, keyed(key))).addObserver((exit) => {
      if (Exit.isFailure(exit)) {
        this.rejected(run, call, exit)
        return
      }
      const kind = this.admitted(run, services, call, key)
      const { latency, ok } = this.arrive(key)
      const outcome = ok ? "Success" : "Failure"
      if (latency === Infinity) return
      timeline.after(latency, () => {
        this.world.dependency.running--
        run.onArrival(() => {
          if (history.detail === "all") history.add({ _tag: "Settled", ...this.at(run), call, key, kind, outcome })
          timeline.after(answerDelay, () =>
            fork(CircuitBreaker.settle(exit.value, ok ? Outcome.success : Outcome.failure()))
          )
        })
      })
    })
  }

  private callExactly(run: Run, services: Services, call: number, key: Key): void {
    const { timeline } = this.world
    const { delay } = this.network.conditions
    const trip = () => delay(this.chance) + delay(this.chance)
    timeline.after(trip(), () => this.callInTwoSteps(run, services, call, key, trip()))
  }

  private observe(
    run: Run,
    call: number,
    fiber: ReturnType<typeof Effect.runFork<void, string | CircuitOpen.CircuitOpen>>
  ): void {
    fiber.addObserver((exit) => {
      if (Exit.isFailure(exit)) this.rejected(run, call, exit)
    })
  }

  private rejected(run: Run, call: number, exit: Exit.Failure<unknown, string | CircuitOpen.CircuitOpen>): void {
    const { history } = this.world
    for (const reason of exit.cause.reasons) {
      if (reason._tag === "Die") history.add({ _tag: "Defect", ...this.at(run), call, cause: reason.defect })
      if (reason._tag !== "Fail" || typeof reason.error === "string") continue
      this.rejections++
      if (history.detail === "all") history.add({ _tag: "Rejected", ...this.at(run), call, error: reason.error })
    }
  }

  private at(run: Run) {
    return { at: this.world.timeline.now, process: this.index, life: run.number }
  }

  private note(_tag: "Started" | "Up" | "Crashed" | "Ending" | "Ended", run: Run): void {
    this.world.history.add({ _tag, ...this.at(run) })
  }
}

const failed = Effect.fail("down")

const keyed = (key: Key): CircuitBreaker.Target | undefined => (key === undefined ? undefined : { key })
