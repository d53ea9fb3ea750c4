/** The way from one process to the store: slow, lossy, doubling, out of order or cut, as its conditions say. */
import { Effect, type Exit, Queue, Stream } from "effect"
import type { SharedStore } from "effect-fuse"
import { counters, itemsOf, type Operation, operations, type Request, refused, through } from "./contract.ts"
import { type Chance, type Distribution, exponential, uniform } from "./random.ts"
import type { StoreServer } from "./store.ts"
import type { Life, Timeline } from "./timeline.ts"

/** May be changed at any time; what is on its way already is not touched but by `cut`. */
export interface Conditions {
  /** One way, in milliseconds. */
  delay: Distribution
  /** How likely it is that a command does not arrive, or that its answer does not. */
  loseRequest: number
  loseAnswer: number
  /**
   * How likely it is that a command arrives twice, and how long after the first the second does. As on a connection, it does not
   * arrive again after a later exchange of its process.
   */
  duplicate: number
  late: Distribution
  /** Whether commands, and answers, may overtake one another. */
  reorder: boolean
  /**
   * Announcements arrive on a separate connection. These are their delay in milliseconds, and the probability that one is lost: 1
   * for a network without announcements.
   */
  announcementDelay: Distribution
  loseAnnouncement: number
  /** How often the process asks for announcements, in milliseconds. 0 means that the store sends each announcement at once. */
  poll: number
  /** Nothing passes, in either direction. */
  cut: boolean
  /** Commands fail at once. */
  refuse: boolean
}

/** One data centre: a round trip of 0.3 to 1 ms. */
export const healthy = (): Conditions => ({
  delay: uniform(0.15, 0.5),
  loseRequest: 0,
  loseAnswer: 0,
  duplicate: 0,
  late: exponential(200),
  reorder: false,
  announcementDelay: uniform(0.15, 0.5),
  loseAnnouncement: 0,
  poll: 0,
  cut: false,
  refuse: false
})

/** Every fault happens from time to time. */
export const rough = (): Conditions => ({
  delay: (chance) => (chance.happens(0.05) ? uniform(20, 400) : uniform(0.15, 5))(chance),
  loseRequest: 0.02,
  loseAnswer: 0.02,
  duplicate: 0.1,
  late: exponential(1_000),
  reorder: true,
  announcementDelay: uniform(0.15, 25),
  loseAnnouncement: 0.05,
  poll: 0,
  cut: false,
  refuse: false
})

/** One process's `SharedStore`: the commands go over the network to the one store that all have. */
export class Network {
  readonly conditions: Conditions
  /** Commands that were sent, by operation. */
  readonly sent: Record<Operation, number> = counters()
  /** Casts, swaps and loads that were sent, alone or in batches. */
  items = 0
  private readonly timeline: Timeline
  private readonly server: StoreServer
  private readonly chance: Chance
  private readonly process: number
  private readonly polledAt: number
  private lastThere = 0
  /** The latest exchange that has arrived. */
  private lastArrived = 0
  private lastBack = 0
  private lastAnnounced = 0
  private frozen = false
  private held: Array<() => void> = []

  constructor(timeline: Timeline, server: StoreServer, process: number, conditions: Conditions, chance: Chance) {
    this.timeline = timeline
    this.server = server
    this.process = process
    this.conditions = conditions
    this.chance = chance
    this.polledAt = chance.next()
  }

  /** Commands that were sent. */
  get commands(): number {
    return operations.reduce((sum, operation) => sum + this.sent[operation], 0)
  }

  /** From now on the commands of the process are held on their way to the store. */
  freeze(): void {
    this.frozen = true
  }

  /** Releases the held commands. The store executes them in the order in which they were sent. */
  thaw(): void {
    this.frozen = false
    const { held } = this
    this.held = []
    for (const arrive of held) arrive()
  }

  /** The store as one life of the process sees it. */
  store(life: Life, number: number): SharedStore.SharedStore {
    const changes = Effect.gen({ self: this }, function* () {
      const queue = yield* Queue.unbounded<SharedStore.Change>()
      const subscribe = Effect.sync(() => this.server.subscribe((change) => this.announce(change, queue, life)))
      yield* Effect.acquireRelease(subscribe, (leave) => Effect.sync(leave))
      return Stream.fromQueue(queue)
    })
    return through((request) => this.send(request, life, number), Stream.unwrap(changes))
  }

  private send<A>(request: Request, life: Life, number: number): Effect.Effect<A, SharedStore.StoreError> {
    return Effect.callback((resume) => {
      const { chance, conditions, server, timeline } = this
      this.sent[request.operation]++
      this.items += itemsOf(request)
      const from = { process: this.process, life: number }
      const command = server.sent(request, from)
      if (conditions.refuse || server.refuses) {
        server.answered(command, from)
        resume(Effect.fail(refused(request)))
        return
      }
      const arrive = (again: boolean) => (): void => {
        if (this.frozen) {
          this.held.push(arrive(again))
          return
        }
        // A command on its way arrives even if its process has crashed.
        if (conditions.cut || server.hangs) return
        if (again && command < this.lastArrived) return
        if (request.operation === "exchange") this.lastArrived = Math.max(this.lastArrived, command)
        server.apply(request, command, from, again, (exit) => {
          if (again || chance.happens(conditions.loseAnswer)) return
          timeline.at(this.back(server.delay(chance) + conditions.delay(chance)), () => {
            if (conditions.cut || !life.alive) return
            life.onArrival(() => {
              server.answered(command, from)
              resume(exit as Exit.Exit<A, SharedStore.StoreError>)
            })
          })
        })
      }
      const first = this.there(conditions.delay(chance))
      if (!chance.happens(conditions.loseRequest)) timeline.at(first, arrive(false))
      if (chance.happens(conditions.duplicate)) timeline.at(first + conditions.late(chance), arrive(true))
    })
  }

  private announce(change: SharedStore.Change, queue: Queue.Queue<SharedStore.Change>, life: Life): void {
    const { chance, conditions, timeline } = this
    if (chance.happens(conditions.loseAnnouncement)) return
    timeline.at(this.announced(conditions.announcementDelay(chance)), () => {
      if (!conditions.cut) life.onArrival(() => Queue.offerUnsafe(queue, change))
    })
  }

  private announced(delay: number): number {
    const { poll, reorder } = this.conditions
    const now = this.timeline.now
    const at = (poll > 0 ? (Math.floor(now / poll - this.polledAt) + 1 + this.polledAt) * poll : now) + delay
    this.lastAnnounced = reorder ? at : Math.max(at, this.lastAnnounced)
    return this.lastAnnounced
  }

  private there(delay: number): number {
    const at = this.timeline.now + delay
    this.lastThere = this.conditions.reorder ? at : Math.max(at, this.lastThere)
    return this.lastThere
  }

  private back(delay: number): number {
    const at = this.timeline.now + delay
    this.lastBack = this.conditions.reorder ? at : Math.max(at, this.lastBack)
    return this.lastBack
  }
}
