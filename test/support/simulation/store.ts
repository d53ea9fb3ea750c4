/** The store's side: a store on a clock of its own, what is done to it, and what it did. */
import { Clock, Context, Effect, Exit, Logger, Scheduler } from "effect"
import type { SharedStore } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import { fromBody } from "../../../src/store/codec.ts"
import { type Backend, type Ground, type MakeBackend, memory } from "./backend.ts"
import {
  carryOut,
  counters,
  itemsOf,
  operations,
  type Request,
  recordOf,
  recordsIn,
  type Written,
  written
} from "./contract.ts"
import type { History } from "./history.ts"
import { always, type Distribution } from "./random.ts"
import { Life, scheduler, type Timeline, VirtualClock } from "./timeline.ts"

/** Who sent a command. */
export interface From {
  readonly process: number
  readonly life: number
}

/** A record of the store, read; times are the timeline's. */
export interface Record {
  readonly epoch: number
  readonly state: Circuit.Circuit
  readonly body: string
}

export interface StoreOptions {
  readonly seed: number
  /** Default {@link memory}. */
  readonly store?: MakeBackend | undefined
  /** Makes another store of it: one that is wrong on purpose. */
  readonly mutate?: ((store: SharedStore.SharedStore) => SharedStore.SharedStore) | undefined
  /** Makes another announcement of each, or none: for a store that announces wrongly on purpose. */
  readonly announcing?: ((change: SharedStore.Change) => SharedStore.Change | undefined) | undefined
  /**
   * How long the store takes for a command. Other commands wait until it is done. Default: {@link redis}. It does not apply to a
   * backend that decides by itself how long a command takes.
   */
  readonly service?: Service | undefined
}

/** How long a command takes in milliseconds, by the number of its casts, swaps and loads, and of the listed records in its answer. */
export type Service = (items: number, records: number) => number

/** Durations measured on a real Redis: 70 us per item, and about 2 us per listed record. A heartbeat takes as long as an item. */
export const redis: Service = (items, records) => 0.07 * Math.max(1, items) + 0.002 * records

export class StoreServer {
  /** How long it takes to answer, beyond the network. */
  delay: Distribution = always(0)
  /** Takes commands and never does anything. */
  hangs = false
  /** Takes no commands. */
  refuses = false
  /** Commands that it carried out. */
  readonly applied = counters()
  /** The number of casts, swaps and loads that the store executed, alone or in batches. */
  items = 0
  /** Called with each command that arrives, before the store executes it. */
  onArrival: (request: Request, from: From) => void = () => {}
  private readonly timeline: Timeline
  private readonly history: History
  private readonly clock: VirtualClock
  private readonly subscribers = new Set<(change: SharedStore.Change) => void>()
  private readonly services: Context.Context<never>
  private readonly backend: Backend
  private readonly store: SharedStore.SharedStore
  private readonly service: Service | undefined
  /** Grows whenever the store may have changed. In between only time passes for it. */
  turns = 0
  private commands = 0
  private frozen = false
  private serving = false
  private readonly waiting = new Fifo<() => void>()
  /** The announcements of the command that the store is executing. */
  private unpublished: Array<SharedStore.Change> = []

  constructor(timeline: Timeline, history: History, options: StoreOptions) {
    const { announcing = (change) => change, mutate, seed, store = memory } = options
    this.timeline = timeline
    this.history = history
    const life = new Life()
    this.clock = new VirtualClock(timeline, life, 0, -3_600_000)
    this.services = Context.make(Scheduler.Scheduler, scheduler(timeline, life)).pipe(
      Context.add(Clock.Clock, this.clock),
      Context.add(Logger.CurrentLoggers, new Set())
    )
    const publish = (made: SharedStore.Change): void => {
      const change = announcing(made)
      if (change === undefined) return
      if (this.serving) this.unpublished.push(change)
      else this.publish(change)
    }
    this.backend = store({ seed, timeline, clock: this.clock, publish, run: this.run })
    this.service = this.backend.keepsTime === true ? undefined : (options.service ?? redis)
    this.store = mutate === undefined ? this.backend.store : mutate(this.backend.store)
  }

  /** Forgets everything: records, ballots, who lives. */
  wipe(): void {
    this.run(this.backend.wipe, (exit) => {
      if (Exit.isFailure(exit)) throw new Error("the store cannot be wiped", { cause: exit.cause })
      this.note("Wiped")
    })
  }

  /** Replaces the store by a copy that lags behind: the latest writes are lost. */
  failover(): void {
    if (this.backend.failover === undefined) throw new Error("this store has no copy to fail over to")
    this.backend.failover()
    this.note("FailedOver")
  }

  /** From now on the store executes nothing. Commands that arrive wait. */
  freeze(): void {
    this.frozen = true
    this.note("Frozen")
  }

  /** The store executes the commands that arrived while it was frozen. */
  thaw(): void {
    this.frozen = false
    this.note("Thawed")
    this.serve()
  }

  /** Its clock jumps by so many milliseconds, forward or backward. */
  jump(millis: number): void {
    this.clock.wallOffset += millis
    this.turns++
    this.history.add({ _tag: "Jumped", at: this.timeline.now, process: -1, life: -1, millis })
  }

  close(): void {
    this.backend.close()
  }

  /** The record of a circuit, as it is now; `undefined` where there is none. */
  record(circuit: string): Record | undefined {
    let stored: SharedStore.Stored | undefined
    this.run(recordOf(this.store, circuit), (exit) => {
      if (Exit.isSuccess(exit)) stored = exit.value
    })
    if (stored === undefined) return undefined
    const read = fromBody(stored.body, this.timeline.now - stored.age)
    return { epoch: stored.epoch, body: stored.body, state: read?.circuit ?? Circuit.initial }
  }

  /** Commands that it carried out, all together. */
  get total(): number {
    return operations.reduce((sum, operation) => sum + this.applied[operation], 0)
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

  /** Accepts a command, and calls `then` with the result when the store has executed it. */
  apply(
    request: Request,
    command: number,
    from: From,
    again: boolean,
    then: (exit: Exit.Exit<unknown, SharedStore.StoreError>) => void
  ): void {
    this.onArrival(request, from)
    this.waiting.push(() => {
      const { service } = this
      this.turns++
      this.applied[request.operation]++
      this.items += itemsOf(request)
      this.serving = service !== undefined
      this.run(carryOut(this.store, request), (exit) => {
        this.turns++
        let records = 0
        if (Exit.isSuccess(exit)) {
          const answer = exit.value
          records = recordsIn(request, answer)
          for (const one of written(request, answer)) this.swapped(one, command, from)
          this.history.add({ _tag: "Applied", at: this.timeline.now, ...from, command, request, answer, again })
        }
        if (service === undefined) then(exit)
        else this.timeline.after(service(itemsOf(request), records), () => this.served(() => then(exit)))
      })
    })
    this.serve()
  }

  /** Executes the waiting commands, one after the other. */
  private serve(): void {
    while (!this.frozen && !this.serving) {
      const next = this.waiting.shift()
      if (next === undefined) return
      next()
    }
  }

  private served(answer: () => void): void {
    const { unpublished } = this
    this.unpublished = []
    this.serving = false
    for (const change of unpublished) this.publish(change)
    answer()
    this.serve()
  }

  private publish(change: SharedStore.Change): void {
    for (const subscriber of [...this.subscribers]) subscriber(change)
  }

  private note(_tag: "Wiped" | "FailedOver" | "Frozen" | "Thawed"): void {
    this.turns++
    this.history.add({ _tag, at: this.timeline.now, process: -1, life: -1 })
  }

  private readonly run: Ground["run"] = (effect, then) => {
    const fiber = Effect.runForkWith(this.services)(effect)
    if (then !== undefined) fiber.addObserver(then)
    this.timeline.drain()
  }

  private swapped({ before, body, circuit, epoch }: Written, command: number, from: From): void {
    const read = fromBody(body, this.timeline.now)
    if (read === undefined) throw new Error(`the simulation cannot read the record ${body}`)
    this.history.add({
      _tag: "Swapped",
      at: this.timeline.now,
      ...from,
      command,
      circuit,
      before,
      epoch,
      state: read.circuit,
      provenance: read.provenance
    })
  }
}

/** First in, first out. */
class Fifo<A> {
  private items: Array<A> = []
  private first = 0

  push(item: A): void {
    this.items.push(item)
  }

  shift(): A | undefined {
    const item = this.items[this.first]
    if (item === undefined) return undefined
    this.first++
    if (this.first > 1_000) {
      this.items = this.items.slice(this.first)
      this.first = 0
    }
    return item
  }
}
