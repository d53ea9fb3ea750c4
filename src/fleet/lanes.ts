import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { foreignText } from "../core/foreign.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import {
  type Cast,
  type CastAnswer,
  type Exchange,
  type ExchangeAnswer,
  limits,
  type RollCall,
  type Swap,
  type SwapAnswer
} from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import type { Hearing } from "./rollCalls.ts"

/** About how long a lane pauses after a failed command. */
const pauseMillis = 100

/** The pause after a command that only confirms roll calls. The next such command confirms all that arrive meanwhile. */
const hearingMillis = 50

/** What `Ballots` does for the casts lane. */
export interface Voting {
  /** The present ballot; `undefined` if there is nothing to cast. */
  readonly build: (circuit: LiveCircuit) => Cast | undefined
  /** Whether the circuit's record has to be read before the roll call can be answered. */
  readonly isUnsure: (rollCall: RollCall) => boolean
  readonly read: (rollCalls: ReadonlyArray<RollCall>) => Effect.Effect<unknown>
  /** The circuit whose ballot this process owes to a roll call; `undefined` if it abstains. */
  readonly owed: (rollCall: RollCall) => LiveCircuit | undefined
  readonly sent: (circuit: LiveCircuit) => void
  /** `sentAt` is the time at which the process built the cast. */
  readonly answered: (circuit: LiveCircuit, cast: Cast, answer: CastAnswer, sentAt: number) => Effect.Effect<void>
  /** The cast was not sent, or the command failed. */
  readonly unsent: (circuit: LiveCircuit) => void
  /** The store may have dropped all ballots of this process. */
  readonly dropped: () => void
}

const silent: Voting = {
  build: () => undefined,
  isUnsure: () => false,
  read: () => Effect.void,
  owed: () => undefined,
  sent: () => {},
  answered: () => Effect.void,
  unsent: () => {},
  dropped: () => {}
}

/** `First`: before the queued swaps. `Patient`: after them. `Now`: after them, but it fails at once right after a failure. */
export type Pace = "First" | "Patient" | "Now"

interface Waiting {
  readonly make: () => Swap | undefined
  readonly answered: Deferred.Deferred<Swapped | "Dropped" | undefined>
}

export interface Swapped {
  readonly answer: SwapAnswer
  readonly sentAt: number
}

/**
 * The two lanes of a process to its store: one for casts, heartbeats and roll calls, one for swaps. Each lane sends one command at a
 * time, with at most 32 items. The ballots and records of waiting circuits are made when they are sent, not when they are queued.
 */
export class Lanes {
  private readonly context: FleetContext
  private readonly hearing: Hearing
  /** Must be set before anything is sent. */
  voting: Voting = silent
  private readonly casts = new Set<LiveCircuit>()
  private readonly swaps: Array<Waiting> = []
  /** Completed after the next exchange of the casts lane. */
  private heartbeats: Array<Deferred.Deferred<boolean>> = []
  /** The digest that the next exchange of the casts lane carries. */
  private digest: string | undefined = undefined
  private casting = false
  private swapping = false
  private castsPausedUntil = Number.NEGATIVE_INFINITY
  private swapsPausedUntil = Number.NEGATIVE_INFINITY
  private hearAt = Number.NEGATIVE_INFINITY
  /** Until when the store counts this process as live. */
  private livesUntil = Number.NEGATIVE_INFINITY
  private hearingLater = false
  /** Whether the last command of each lane was late. */
  private castsWereLate = false
  private swapsWereLate = false

  constructor(context: FleetContext, hearing: Hearing) {
    this.context = context
    this.hearing = hearing
  }

  /** Sends the circuit's ballot with the next command. */
  cast(circuit: LiveCircuit): void {
    this.casts.add(circuit)
    this.wake()
  }

  hear(rollCall: RollCall): void {
    this.hearing.announced(rollCall)
    this.wake()
    this.hearLater()
  }

  private hearLater(): void {
    const wait = this.hearAt - this.context.now()
    if (this.hearingLater || wait <= 0 || !this.hearing.isBehind) return
    this.hearingLater = true
    const then = Effect.sync(() => {
      this.hearingLater = false
      this.wake()
    })
    this.context.runtime.background(Effect.andThen(Effect.sleep(Math.ceil(wait)), then))
  }

  /**
   * Sends an exchange even if there is nothing to write. Returns whether the store carried it out. For a process that is leaving it is
   * the last exchange, which removes the process from the register.
   */
  heartbeat(digest?: string): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const answered = Deferred.makeUnsafe<boolean>()
      this.digest = digest ?? this.digest
      this.heartbeats.push(answered)
      this.wake()
      return Deferred.await(answered)
    })
  }

  /** Whether a swap of this pace would be sent now. */
  takes(pace: Pace): boolean {
    return !this.context.client.down && (pace !== "Now" || this.context.now() >= this.swapsPausedUntil)
  }

  /**
   * Swaps a record. `make` is called when the command is sent; if it returns `undefined`, the swap is dropped. The result is `undefined`
   * if the command failed.
   */
  swap(make: () => Swap | undefined, pace: Pace): Effect.Effect<Swapped | "Dropped" | undefined> {
    return Effect.suspend(() => {
      if (!this.takes(pace)) return Effect.succeed(undefined)
      const waiting: Waiting = { make, answered: Deferred.makeUnsafe() }
      if (pace === "First") this.swaps.unshift(waiting)
      else this.swaps.push(waiting)
      this.wakeSwaps()
      return Deferred.await(waiting.answered)
    })
  }

  // ---- Casts --------------------------------------------------------------------------------------------------------

  private get hasCasts(): boolean {
    if (this.heartbeats.length > 0) return true
    // While the store is down, only heartbeats test it.
    if (this.context.client.down || this.context.leaving) return false
    return this.casts.size > 0 || (this.hearing.isBehind && this.context.now() >= this.hearAt)
  }

  private wake(): void {
    if (this.casting || !this.hasCasts) return
    this.casting = true
    const done = Effect.sync(() => {
      this.casting = false
      this.wake()
    })
    // Let the call that caused this finish first.
    this.context.runtime.background(Effect.ensuring(Effect.andThen(Effect.yieldNow, this.sendAllCasts), done))
  }

  private get sendAllCasts(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.hasCasts) return Effect.void
      const wait = this.castsPausedUntil - this.context.now()
      const pause = wait > 0 ? Effect.sleep(Math.ceil(wait)) : Effect.void
      return Effect.andThen(pause, Effect.andThen(this.sendCasts, this.sendAllCasts))
    })
  }

  /**
   * Runs before each command. If the store may count this process as dead when the command arrives, its ballots are gone; if it then said
   * that it has heard roll calls, the store would count abstentions.
   */
  private checkLife(): void {
    if (this.context.now() + this.context.client.deadlineMillis >= this.livesUntil) this.begin()
  }

  /** In a new life of the store this process has heard and cast nothing, whatever the numbers are. */
  private noteLife(life: string): void {
    const { hearing } = this
    if (hearing.life !== "" && hearing.life !== life) this.begin()
    hearing.life = life
  }

  /** The store may not know this process any more: begins as a new one. */
  begin(): void {
    this.hearing.forget()
    this.voting.dropped()
  }

  private get sendCasts(): Effect.Effect<void> {
    // Even the first command has a deadline. The deadline counts from the decision about the content.
    const send = Effect.suspend(() => {
      const { context, hearing, voting } = this
      this.checkLife()
      if (context.client.down || context.leaving)
        return this.sendBatch(new Map(), hearing.confirmed, hearing.life, context.now())
      const unsure = hearing.queued.filter((one) => voting.isUnsure(one)).slice(0, limits.load)
      const read = unsure.length === 0 ? Effect.void : voting.read(unsure)
      return Effect.flatMap(read, () => {
        // The read may have taken long.
        this.checkLife()
        const decidedAt = context.now()
        const batch = new Map<LiveCircuit, Cast>()
        const { life } = hearing
        const heard = this.answerRollCalls(batch)
        for (const circuit of this.casts) {
          if (batch.size >= limits.casts) break
          this.casts.delete(circuit)
          const cast = batch.has(circuit) ? undefined : voting.build(circuit)
          if (cast !== undefined) batch.set(circuit, cast)
        }
        const isNews = batch.size > 0 || heard !== hearing.confirmed || hearing.missing > 0
        if (isNews || this.heartbeats.length > 0) return this.sendBatch(batch, heard, life, decidedAt)
        // Roll calls that cannot be answered now are tried again a little later.
        if (hearing.isBehind) this.castsPausedUntil = context.now() + context.spread(pauseMillis)
        return Effect.void
      })
    })
    return Effect.andThen(this.context.client.learnTime, send)
  }

  /** Adds the ballots owed to roll calls, while there is room. Returns the number of the last roll call that is answered. */
  private answerRollCalls(batch: Map<LiveCircuit, Cast>): number {
    const { hearing, voting } = this
    let { confirmed: heard } = hearing
    for (const rollCall of hearing.queued) {
      // The read failed, had no room for this roll call, or was sent before it arrived.
      if (voting.isUnsure(rollCall)) return heard
      const circuit = voting.owed(rollCall)
      if (circuit !== undefined && !batch.has(circuit)) {
        if (batch.size >= limits.casts) return heard
        const cast = voting.build(circuit)
        if (cast === undefined) return heard
        batch.set(circuit, cast)
      }
      heard = rollCall.seq
    }
    return hearing.latest
  }

  /** `decidedAt` is the time at which the process built the ballots. */
  private sendBatch(
    batch: ReadonlyMap<LiveCircuit, Cast>,
    heard: number,
    life: string,
    decidedAt: number
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { context, digest, hearing, heartbeats, voting } = this
      const { generation } = hearing
      if (batch.size === 0 && heartbeats.length === 0) this.hearAt = decidedAt + hearingMillis
      this.heartbeats = []
      this.digest = undefined
      for (const circuit of batch.keys()) voting.sent(circuit)
      const sent = this.exchange(decidedAt, { casts: [...batch.values()], swaps: [], heard, life, digest })
      return Effect.flatMap(sent, (answer) => {
        const isLate = answer?._tag === "Late"
        if (isLate && !this.castsWereLate) {
          // This process makes new ballots at once: the store's clock has stepped, or this process was frozen.
          this.castsWereLate = true
          this.heartbeats.unshift(...heartbeats)
          this.digest ??= digest
          this.takeBack(batch)
          return Effect.void
        }
        this.castsWereLate = false
        for (const heartbeat of heartbeats) Deferred.doneUnsafe(heartbeat, Exit.succeed(answer?._tag === "Done"))
        if (answer === undefined || isLate) {
          this.castsPausedUntil = context.now() + context.spread(pauseMillis)
          this.takeBack(batch)
          return Effect.void
        }
        if (hearing.generation === generation) hearing.confirm(answer.life !== life || heard > answer.head ? 0 : heard)
        return Effect.forEach(
          [...batch],
          ([circuit, cast], index) => {
            const one = answer.casts[index]
            if (one === undefined) return Effect.sync(() => voting.unsent(circuit))
            return Effect.catchCause(voting.answered(circuit, cast, one, decidedAt), (cause) =>
              quietly(Effect.logError(`The store's answer to a ballot cannot be used: ${foreignText(cause)}`))
            )
          },
          { discard: true }
        )
      })
    })
  }

  /** Queues the circuits of a batch again, unless the store is down. */
  private takeBack(batch: ReadonlyMap<LiveCircuit, Cast>): void {
    for (const circuit of batch.keys()) {
      this.voting.unsent(circuit)
      this.casts.add(circuit)
    }
    if (!this.context.client.down) return
    for (const circuit of this.casts) this.voting.unsent(circuit)
    this.casts.clear()
  }

  // ---- Swaps --------------------------------------------------------------------------------------------------------

  private wakeSwaps(): void {
    if (this.swapping || this.swaps.length === 0) return
    this.swapping = true
    const done = Effect.sync(() => {
      this.swapping = false
      this.wakeSwaps()
    })
    this.context.runtime.background(Effect.ensuring(this.sendAllSwaps, done))
  }

  private get sendAllSwaps(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.swaps.length === 0) return Effect.void
      const wait = this.swapsPausedUntil - this.context.now()
      const pause = wait > 0 ? Effect.sleep(Math.ceil(wait)) : Effect.void
      return Effect.andThen(pause, Effect.andThen(this.sendSwaps, this.sendAllSwaps))
    })
  }

  private get sendSwaps(): Effect.Effect<void> {
    const send = Effect.suspend(() => {
      const { context, hearing } = this
      this.checkLife()
      if (context.client.down) return Effect.sync(() => this.swapsFailed(this.swaps.splice(0)))
      const { confirmed, life } = hearing
      const decidedAt = context.now()
      const batch: Array<Waiting> = []
      const swaps: Array<Swap> = []
      while (batch.length < limits.swaps) {
        const waiting = this.swaps.shift()
        if (waiting === undefined) break
        const swap = waiting.make()
        if (swap === undefined) Deferred.doneUnsafe(waiting.answered, Exit.succeed("Dropped"))
        else {
          batch.push(waiting)
          swaps.push(swap)
        }
      }
      if (swaps.length === 0) return Effect.void
      return Effect.map(this.exchange(decidedAt, { casts: [], swaps, heard: confirmed, life }), (answer) => {
        const isLate = answer?._tag === "Late"
        if (isLate && !this.swapsWereLate) {
          // This process makes new records at once, for the same reasons as ballots.
          this.swapsWereLate = true
          this.swaps.unshift(...batch)
          return
        }
        this.swapsWereLate = false
        if (answer === undefined || isLate) return this.swapsFailed(batch)
        for (const [index, { answered }] of batch.entries()) {
          const one = answer.swaps[index]
          Deferred.doneUnsafe(
            answered,
            Exit.succeed(one === undefined ? undefined : { answer: one, sentAt: decidedAt })
          )
        }
        this.wake()
        // The other lane has confirmed other roll calls since this command was sent: confirm them again.
        if (hearing.confirmed !== confirmed) context.runtime.background(this.heartbeat())
      })
    })
    return Effect.andThen(this.context.client.learnTime, send)
  }

  private swapsFailed(batch: ReadonlyArray<Waiting>): void {
    this.swapsPausedUntil = this.context.now() + this.context.spread(pauseMillis)
    for (const { answered } of batch) Deferred.doneUnsafe(answered, Exit.succeed(undefined))
    this.wake()
  }

  private exchange(
    decidedAt: number,
    what: Pick<Exchange, "casts" | "swaps" | "heard" | "life" | "digest">
  ): Effect.Effect<ExchangeAnswer | undefined> {
    const { context, hearing } = this
    const before = { latest: hearing.latest, missing: hearing.missing }
    const { generation } = hearing
    const { floor, ttl, voter } = context
    const sent = context.client.exchange(decidedAt, (notAfter) =>
      context.store.exchange({ voter, ttl, notAfter, floor, ...what })
    )
    const taken = Effect.map(sent, (answer) => {
      if (answer?._tag !== "Done" || ttl === 0) return answer
      // At its start a process relies on the store's count: the lives of the others have not ended.
      const hasLived = this.livesUntil > Number.NEGATIVE_INFINITY
      if (hasLived && decidedAt + context.client.deadlineMillis >= this.livesUntil) context.joinedAt = context.now()
      context.noteLive(answer.live, answer.liveFor)
      this.livesUntil = Math.max(this.livesUntil, decidedAt + ttl)
      if (hearing.generation === generation) {
        this.noteLife(answer.life)
        hearing.answered(answer.rollCalls, answer.head, before)
      } else hearing.missed(answer.head)
      this.hearLater()
      return answer
    })
    // A malformed answer of a custom store counts as none.
    return Effect.catchCause(taken, () => Effect.succeed(undefined))
  }
}
