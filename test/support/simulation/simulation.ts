/**
 * A whole fleet in virtual time, with the real engine in every process:
 *
 * ```ts
 * const simulation = new Simulation({ seed: 1, processes: 3, conditions: rough(), history: "all" })
 * simulation.startAll()
 * simulation.traffic([0, 1, 2], 50)                       // 50 calls a second each, as they come
 * simulation.at(10_000, () => simulation.process(2).crash())
 * simulation.at(12_000, () => simulation.fail(1))          // the dependency is down
 * simulation.onStep(() => check(simulation.look()))        // after each event
 * simulation.runUntil(60_000)
 * check(simulation.history.of("Swapped"))
 * ```
 *
 * It runs synchronously, and the same options give the same history. Times are milliseconds from 0.
 */
import { Clock, Context, Effect, Layer, Logger, Random, Scheduler, Scope } from "effect"
import { BreakerPolicy, BreakerStore, type CircuitBreaker, type SharedStore } from "effect-fuse"
import { type Behaviour, Dependency, failing } from "./dependency.ts"
import { type Detail, History } from "./history.ts"
import { type Conditions, healthy, Network } from "./network.ts"
import { Process, type Protection, type World } from "./process.ts"
import { always, Chance, exponential } from "./random.ts"
import { type Record, type StoreOptions, StoreServer } from "./store.ts"
import { Life, scheduler, Timeline, VirtualClock } from "./timeline.ts"

export interface Options extends StoreOptions {
  readonly processes: number
  /** Default `fleet`. */
  readonly protection?: Protection | undefined
  /** By `protect` (the default), or by `admit` and `settle`, which nothing interrupts. */
  readonly via?: "protect" | "admit" | undefined
  /** What differs from the default policy. */
  readonly policy?: BreakerPolicy.Input | undefined
  readonly syncInterval?: number | undefined
  /** Makes another store of the one that each process has: for processes that are wrong on purpose. */
  readonly client?: ((store: SharedStore.SharedStore) => SharedStore.SharedStore) | undefined
  /** What the network is like; each process has a copy of its own. Default {@link healthy}. */
  readonly conditions?: Conditions | undefined
  /** Default: never fails, and takes 1 ms. */
  readonly dependency?: Behaviour | undefined
  /** Default `moves`. */
  readonly history?: Detail | undefined
}

/** All at one moment. */
export interface Look {
  readonly now: number
  /** By index; `undefined` for one that is not up. */
  readonly processes: ReadonlyArray<CircuitBreaker.Inspection | undefined>
  readonly record: Record | undefined
  /** Calls that the dependency is working on. */
  readonly running: number
}

const circuit = "api"

export class Simulation {
  readonly timeline = new Timeline()
  readonly history: History
  readonly store: StoreServer
  readonly dependency: Dependency
  readonly processes: ReadonlyArray<Process>
  private readonly chance: Chance

  constructor(options: Options) {
    const { timeline } = this
    this.chance = new Chance(options.seed)
    this.history = new History(options.history ?? "moves")
    this.store = new StoreServer(timeline, this.history, options)
    this.dependency = new Dependency(options.dependency ?? failing(0), this.chance.fork())
    const services = Effect.runSync(
      Effect.scoped(Layer.build(Layer.merge(Logger.layer([]), BreakerPolicy.layer({ default: options.policy ?? {} }))))
    )
    const protection = options.protection ?? "fleet"
    const world: World = {
      timeline,
      history: this.history,
      dependency: this.dependency,
      circuit,
      protection,
      via: options.via ?? "protect",
      syncInterval: options.syncInterval ?? 5_000,
      client: options.client ?? ((store) => store),
      services,
      exact: protection === "exact" ? exactStore(timeline, services, this.chance.fork()) : undefined
    }
    this.processes = Array.from({ length: options.processes }, (_, index) => {
      const network = new Network(
        timeline,
        this.store,
        index,
        { ...(options.conditions ?? healthy()) },
        this.chance.fork()
      )
      return new Process(index, world, network, this.chance.fork())
    })
  }

  get now(): number {
    return this.timeline.now
  }

  process(index: number): Process {
    const found = this.processes[index]
    if (found === undefined) throw new RangeError(`there is no process ${index}`)
    return found
  }

  /** Does something at a time. */
  at(time: number, run: () => void): void {
    this.timeline.at(time, run)
  }

  runUntil(time: number): void {
    this.timeline.runUntil(time)
  }

  /** After each event, once all that followed from it at that time is done. */
  onStep(listener: () => void): void {
    this.timeline.onStep(listener)
  }

  startAll(): void {
    for (const process of this.processes) process.start()
  }

  /** Each of these processes makes calls at random times while it is up: this many per second, each for a random key. */
  traffic(processes: ReadonlyArray<number>, perSecond: number, keys: ReadonlyArray<string> = []): void {
    const wait = exponential(1000 / perSecond)
    for (const index of processes) {
      const process = this.process(index)
      const chance = this.chance.fork()
      const next = () =>
        this.at(this.now + wait(chance), () => {
          process.call(keys.length === 0 ? undefined : keys[chance.below(keys.length)])
          next()
        })
      next()
    }
  }

  /** Each of these processes calls every key once per interval (in milliseconds) while it is up, in its own random order. */
  rounds(processes: ReadonlyArray<number>, keys: ReadonlyArray<string>, millis: number): void {
    const wait = millis / keys.length
    for (const index of processes) {
      const process = this.process(index)
      const order = this.chance.fork().shuffle(keys)
      const next = (turn: number) =>
        this.at(this.now + wait, () => {
          process.call(order[turn % order.length])
          next(turn + 1)
        })
      next(0)
    }
  }

  /** From now on the dependency fails with this probability (for a process), its failures taking so long. */
  fail(probability: number | ((process: number) => number), latency = 1): void {
    const of = typeof probability === "number" ? probability : (_: number, process: number) => probability(process)
    this.dependency.behaviour = failing(of, always(1), always(latency))
  }

  /** Cuts processes off from the store for a while. */
  partition(processes: ReadonlyArray<number>, from: number, until: number): void {
    const set = (cut: boolean) => () => {
      for (const index of processes) this.process(index).network.conditions.cut = cut
    }
    this.at(from, set(true))
    this.at(until, set(false))
  }

  /** Gives back what its store has beside memory. */
  close(): void {
    this.store.close()
  }

  /** The store's record of the circuit. */
  get record(): Record | undefined {
    return this.store.record(circuit)
  }

  look(): Look {
    return {
      now: this.now,
      processes: this.processes.map((process) => process.look()),
      record: this.record,
      running: this.dependency.running
    }
  }
}

/** One store for all calls of all processes. */
const exactStore = (
  timeline: Timeline,
  common: Context.Context<never>,
  chance: Chance
): Context.Context<BreakerStore.BreakerStore> => {
  const life = new Life()
  const base = common.pipe(
    Context.add(Clock.Clock, new VirtualClock(timeline, life, 0)),
    Context.add(Scheduler.Scheduler, scheduler(timeline, life)),
    Context.add(Random.Random, chance.service)
  )
  let services: Context.Context<BreakerStore.BreakerStore> | undefined
  const store = Layer.buildWithScope(Layer.fresh(BreakerStore.layerMemory), Scope.makeUnsafe())
  Effect.runForkWith(base)(
    Effect.map(store, (built) => {
      services = Context.merge(base, built)
    })
  )
  timeline.drain()
  if (services === undefined) throw new Error("the store was not built at once")
  return services
}
