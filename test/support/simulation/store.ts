/** The store's side: `SharedStore.makeMemory` on a clock of its own, what is done to it, and what it did. */
import { Clock, Context, Effect, Scheduler, Stream } from "effect"
import { Circuit, SharedStore } from "effect-fuse"
import { fromBody } from "../../../src/internal/codec.ts"
import type { History, Operation, Request } from "./history.ts"
import { always, type Distribution } from "./random.ts"
import { type Life, scheduler, type Timeline, VirtualClock } from "./timeline.ts"

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

/** Eras of a store that was wiped begin above all that it ever gave. */
const erasPerLife = 1_000_000

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
  private memory: SharedStore.SharedStore
  private wipes = 0
  private commands = 0

  private readonly mutate: (store: SharedStore.SharedStore) => SharedStore.SharedStore

  constructor(timeline: Timeline, history: History, mutate = (store: SharedStore.SharedStore) => store) {
    this.mutate = mutate
    this.timeline = timeline
    this.history = history
    this.clock = new VirtualClock(timeline, { alive: true }, 0, -3_600_000)
    this.memory = this.make()
  }

  /** Forgets everything: records, ballots, who lives. */
  wipe(): void {
    this.wipes++
    this.memory = this.make()
    this.history.add({ _tag: "Wiped", at: this.timeline.now, process: -1, life: -1 })
  }

  /** Its clock jumps by so many milliseconds, forward or backward. */
  jump(millis: number): void {
    this.clock.wallOffset += millis
    this.history.add({ _tag: "Jumped", at: this.timeline.now, process: -1, life: -1 })
  }

  /** The record of a circuit, as it is now; `undefined` where there is none. */
  record(circuit: string): Record | undefined {
    const stored = Effect.runSync(this.memory.load(circuit))
    if (stored === undefined) return undefined
    const read = fromBody(stored.body, this.timeline.now - stored.age)
    return { era: stored.era + this.base, body: stored.body, state: read?.circuit ?? Circuit.initial }
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

  apply(request: Request, command: number, from: From, again: boolean): unknown {
    this.applied[request.operation]++
    const answer = this.carryOut(request, from)
    this.history.add({ _tag: "Applied", at: this.timeline.now, ...from, command, request, answer, again })
    return answer
  }

  private get base(): number {
    return this.wipes * erasPerLife
  }

  private make(): SharedStore.SharedStore {
    const life: Life = { alive: true }
    const made = Effect.runSync(Effect.provideService(SharedStore.makeMemory, Clock.Clock, this.clock))
    const { base } = this
    const context = Context.make(Scheduler.Scheduler, scheduler(this.timeline, life))
    Effect.runForkWith(context)(
      Stream.runForEach(made.changes, (change) =>
        Effect.sync(() => this.publish({ ...change, era: change.era === 0 ? 0 : change.era + base }))
      )
    )
    this.timeline.drain()
    return this.mutate(made)
  }

  private carryOut(request: Request, from: From): unknown {
    const { memory } = this
    switch (request.operation) {
      case "cast": {
        const answer = Effect.runSync(memory.cast({ ...request.cast, era: this.inner(request.cast.era) }))
        return { ...answer, record: this.outer(answer.record) }
      }
      case "swap": {
        const { swap } = request
        const answer = Effect.runSync(memory.swap({ ...swap, expectedEra: this.inner(swap.expectedEra) }))
        const record = this.outer(answer.record)
        if (answer.swapped && record !== undefined) {
          const { body, circuit } = swap
          const read = fromBody(body, this.timeline.now)
          if (read === undefined) throw new Error(`the simulation cannot read the record ${body}`)
          this.history.add({
            _tag: "Swapped",
            at: this.timeline.now,
            ...from,
            circuit,
            before: swap.expectedEra,
            era: record.era,
            state: read.circuit,
            about: read.about
          })
        }
        return { ...answer, record }
      }
      case "load":
        return this.outer(Effect.runSync(memory.load(request.circuit)))
      default: {
        const answer = Effect.runSync(memory.list(request.voice, request.ttl))
        return { ...answer, records: answer.records.map((one) => ({ ...one, era: one.era + this.base })) }
      }
    }
  }

  private publish(change: SharedStore.Change): void {
    for (const subscriber of [...this.subscribers]) subscriber(change)
  }

  private inner(era: number): number {
    if (era === 0) return 0
    return era > this.base ? era - this.base : -1
  }

  private outer(stored: SharedStore.Stored | undefined): SharedStore.Stored | undefined {
    return stored === undefined ? undefined : { ...stored, era: stored.era + this.base }
  }
}
