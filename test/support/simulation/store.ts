/** The store's side: a store on a clock of its own, what is done to it, and what it did. */
import { Clock, Context, Effect, Exit, Logger, Scheduler } from "effect"
import { Circuit, type SharedStore } from "effect-fuse"
import { fromBody } from "../../../src/internal/codec.ts"
import { type Backend, type Ground, type MakeBackend, memory } from "./backend.ts"
import type { History, Operation, Request } from "./history.ts"
import { always, type Distribution } from "./random.ts"
import { scheduler, type Timeline, VirtualClock } from "./timeline.ts"

/** Who sent a command. */
export interface From {
  readonly process: number
  readonly life: number
}

/** A record of the store, read; times are the timeline's. */
export interface Record {
  readonly era: number
  readonly state: Circuit.Circuit
  readonly body: string
}

export interface StoreOptions {
  readonly seed: number
  /** Default {@link memory}. */
  readonly store?: MakeBackend | undefined
  /** Makes another store of it: one that is wrong on purpose. */
  readonly mutate?: ((store: SharedStore.SharedStore) => SharedStore.SharedStore) | undefined
}

export class StoreServer {
  /** How long it takes to answer, beyond the network. */
  delay: Distribution = always(0)
  /** Takes commands and never does anything. */
  hangs = false
  /** Takes no commands. */
  refuses = false
  /** Commands that it carried out. */
  readonly applied: { [operation in Operation]: number } = { cast: 0, swap: 0, load: 0, list: 0 }
  private readonly timeline: Timeline
  private readonly history: History
  private readonly clock: VirtualClock
  private readonly subscribers = new Set<(change: SharedStore.Change) => void>()
  private readonly services: Context.Context<never>
  private readonly backend: Backend
  private readonly store: SharedStore.SharedStore
  private commands = 0

  constructor(timeline: Timeline, history: History, { mutate, seed, store = memory }: StoreOptions) {
    this.timeline = timeline
    this.history = history
    const life = { alive: true }
    this.clock = new VirtualClock(timeline, life, 0, -3_600_000)
    this.services = Context.make(Scheduler.Scheduler, scheduler(timeline, life)).pipe(
      Context.add(Clock.Clock, this.clock),
      Context.add(Logger.CurrentLoggers, new Set())
    )
    const publish = (change: SharedStore.Change): void => {
      for (const subscriber of [...this.subscribers]) subscriber(change)
    }
    this.backend = store({ seed, timeline, clock: this.clock, publish, run: this.run })
    this.store = mutate === undefined ? this.backend.store : mutate(this.backend.store)
  }

  /** Forgets everything: records, ballots, who lives. */
  wipe(): void {
    this.run(this.backend.wipe, (exit) => {
      if (Exit.isFailure(exit)) throw new Error("the store cannot be wiped", { cause: exit.cause })
      this.history.add({ _tag: "Wiped", at: this.timeline.now, process: -1, life: -1 })
    })
  }

  /** Its clock jumps by so many milliseconds, forward or backward. */
  jump(millis: number): void {
    this.clock.wallOffset += millis
    this.history.add({ _tag: "Jumped", at: this.timeline.now, process: -1, life: -1 })
  }

  close(): void {
    this.backend.close()
  }

  /** The record of a circuit, as it is now; `undefined` where there is none. */
  record(circuit: string): Record | undefined {
    let stored: SharedStore.Stored | undefined
    this.run(this.store.load(circuit), (exit) => {
      if (Exit.isSuccess(exit)) stored = exit.value
    })
    if (stored === undefined) return undefined
    const read = fromBody(stored.body, this.timeline.now - stored.age)
    return { era: stored.era, body: stored.body, state: read?.circuit ?? Circuit.initial }
  }

  /** Commands that it carried out, all together. */
  get total(): number {
    const { cast, list, load, swap } = this.applied
    return cast + list + load + swap
  }

  subscribe(subscriber: (change: SharedStore.Change) => void): () => void {
    this.subscribers.add(subscriber)
    return () => this.subscribers.delete(subscriber)
  }

  sent(request: Request, from: From): number {
    const command = ++this.commands
    this.history.add({ _tag: "Sent", at: this.timeline.now, ...from, command, request })
    return command
  }

  answered(command: number, from: From): void {
    this.history.add({ _tag: "Answered", at: this.timeline.now, ...from, command })
  }

  /** Carries a command out: `then` hears what came of it, at once or later. */
  apply(
    request: Request,
    command: number,
    from: From,
    again: boolean,
    then: (exit: Exit.Exit<unknown, SharedStore.StoreError>) => void
  ): void {
    this.applied[request.operation]++
    this.run(this.carryOut(request, from), (exit) => {
      if (Exit.isSuccess(exit)) {
        const answer = exit.value
        this.history.add({ _tag: "Applied", at: this.timeline.now, ...from, command, request, answer, again })
      }
      then(exit)
    })
  }

  private readonly run: Ground["run"] = (effect, then) => {
    const fiber = Effect.runForkWith(this.services)(effect)
    if (then !== undefined) fiber.addObserver(then)
    this.timeline.drain()
  }

  private carryOut(request: Request, from: From): Effect.Effect<unknown, SharedStore.StoreError> {
    const { store } = this
    switch (request.operation) {
      case "cast":
        return store.cast(request.cast)
      case "swap": {
        const { swap } = request
        return Effect.map(store.swap(swap), (answer) => {
          if (answer.swapped && answer.record !== undefined) this.swapped(swap, answer.record.era, from)
          return answer
        })
      }
      case "load":
        return store.load(request.circuit)
      default:
        return store.list(request.voice, request.ttl)
    }
  }

  private swapped({ body, circuit, expectedEra }: SharedStore.Swap, era: number, from: From): void {
    const read = fromBody(body, this.timeline.now)
    if (read === undefined) throw new Error(`the simulation cannot read the record ${body}`)
    this.history.add({
      _tag: "Swapped",
      at: this.timeline.now,
      ...from,
      circuit,
      before: expectedEra,
      era,
      state: read.circuit,
      about: read.about
    })
  }
}
