/** The way from one process to the store: slow, lossy, doubling, out of order or cut, as its conditions say. */
import { Effect, type Exit, Queue, Stream } from "effect"
import { SharedStore } from "effect-fuse"
import type { Operation, Request } from "./history.ts"
import { always, type Chance, type Distribution, exponential, uniform } from "./random.ts"
import type { StoreServer } from "./store.ts"
import type { Life, Timeline } from "./timeline.ts"

/** May be changed at any time; what is on its way already is not touched but by `cut`. */
export interface Conditions {
  /** One way, in milliseconds. */
  delay: Distribution
  /** How likely it is that a command does not arrive, or that its answer does not. */
  loseRequest: number
  loseAnswer: number
  /** How likely it is that a command arrives twice, and how long after the first the second does. */
  duplicate: number
  late: Distribution
  /** Whether commands, and answers, may overtake one another. */
  reorder: boolean
  /** Announcements: beyond the delay, and how likely it is that one gets lost. */
  announcementDelay: Distribution
  loseAnnouncement: number
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
  announcementDelay: always(0),
  loseAnnouncement: 0,
  cut: false,
  refuse: false
})

/** Everything goes wrong now and then. */
export const rough = (): Conditions => ({
  delay: (chance) => (chance.happens(0.05) ? uniform(20, 400) : uniform(0.15, 5))(chance),
  loseRequest: 0.02,
  loseAnswer: 0.02,
  duplicate: 0.1,
  late: exponential(1_000),
  reorder: true,
  announcementDelay: uniform(0, 20),
  loseAnnouncement: 0.05,
  cut: false,
  refuse: false
})

/** One process's `SharedStore`: the commands go over the network to the one store that all have. */
export class Network {
  readonly conditions: Conditions
  readonly sent: Record<Operation, number> = { cast: 0, swap: 0, load: 0, list: 0 }
  private readonly timeline: Timeline
  private readonly server: StoreServer
  private readonly chance: Chance
  private readonly process: number
  private lastThere = 0
  private lastBack = 0

  constructor(timeline: Timeline, server: StoreServer, process: number, conditions: Conditions, chance: Chance) {
    this.timeline = timeline
    this.server = server
    this.process = process
    this.conditions = conditions
    this.chance = chance
  }

  /** Commands that were sent. */
  get commands(): number {
    return this.sent.cast + this.sent.swap + this.sent.load + this.sent.list
  }

  /** The store as one life of the process sees it. */
  store(life: Life, number: number): SharedStore.SharedStore {
    const send = <A>(request: Request) => this.send<A>(request, life, number)
    return {
      cast: (cast) => send({ operation: "cast", cast }),
      swap: (swap) => send({ operation: "swap", swap }),
      load: (circuit) => send({ operation: "load", circuit }),
      list: (voice, ttl) => send({ operation: "list", voice, ttl }),
      changes: Stream.unwrap(
        Effect.map(
          Effect.acquireRelease(
            Effect.map(Queue.unbounded<SharedStore.Change>(), (queue) => {
              const leave = this.server.subscribe((change) => this.announce(change, queue, life))
              return { queue, leave }
            }),
            ({ leave }) => Effect.sync(leave)
          ),
          ({ queue }) => Stream.fromQueue(queue)
        )
      )
    }
  }

  private send<A>(request: Request, life: Life, number: number): Effect.Effect<A, SharedStore.StoreError> {
    return Effect.callback((resume) => {
      const { chance, conditions, server, timeline } = this
      const { operation } = request
      this.sent[operation]++
      const from = { process: this.process, life: number }
      const command = server.sent(request, from)
      if (conditions.refuse || server.refuses) {
        resume(Effect.fail(new SharedStore.StoreError({ operation, cause: "refused" })))
        return
      }
      const arrive = (again: boolean) => () => {
        // A command that is on its way arrives whatever becomes of who sent it.
        if (conditions.cut || server.hangs) return
        server.apply(request, command, from, again, (exit) => {
          if (again || chance.happens(conditions.loseAnswer)) return
          timeline.at(this.back(server.delay(chance) + conditions.delay(chance)), () => {
            if (conditions.cut || !life.alive) return
            server.answered(command, from)
            resume(exit as Exit.Exit<A, SharedStore.StoreError>)
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
    timeline.at(this.back(conditions.delay(chance) + conditions.announcementDelay(chance)), () => {
      if (life.alive && !conditions.cut) Queue.offerUnsafe(queue, change)
    })
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
