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
  type ExchangeDone,
  limits,
  type RollCall,
  type Swap,
  type SwapAnswer
} from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import type { Hearing } from "./rollCalls.ts"

/** A command that failed is followed by about this pause. */
const pauseMillis = 100

/** The pause after a command that only confirms roll calls. The next such command confirms all that arrive meanwhile. */
const hearingMillis = 50

/** What `Ballots` does for the casts lane. */
export interface Voting {
  /** The ballot as it is now; nothing if there is nothing to tell. */
  readonly build: (circuit: LiveCircuit) => Cast | undefined
  /** Whether the circuit's record has to be read before the roll call can be answered. */
  readonly isUnsure: (rollCall: RollCall) => boolean
  readonly read: (rollCalls: ReadonlyArray<RollCall>) => Effect.Effect<unknown>
  /** The circuit whose ballot this process owes to a roll call; nothing if it abstains, or its ballot counts long enough. */
  readonly owed: (rollCall: RollCall) => LiveCircuit | undefined
  readonly sent: (circuit: LiveCircuit) => void
  /** The store has answered; `sentAt` is when the cast was sent. */
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

/** `First`: sent before the swaps that wait. `Patient`: sent after them. `Now`: the same, but right after a failure it fails at once. */
export type Pace = "First" | "Patient" | "Now"

/** A swap that waits to be sent. */
interface Waiting {
  readonly make: () => Swap | undefined
  readonly answered: Deferred.Deferred<Swapped | "Dropped" | undefined>
}

/** What the store made of a swap, and when it was sent. */
export interface Swapped {
  readonly answer: SwapAnswer
  readonly sentAt: number
}

/**
 * The two lanes of a process to its store: one for casts, heartbeats and roll calls, one for swaps. Each lane sends one command at a
 * time, with at most 32 items. While the store is slow, circuits wait here: their ballots and records are made when they are sent.
 */
export class Lanes {
  private readonly context: FleetContext
  private readonly hearing: Hearing
  /** Set before anything is sent. */
  voting: Voting = silent
  private readonly casts = new Set<LiveCircuit>()
  private readonly swaps: Array<Waiting> = []
  /** Answered after the next exchange of the casts lane, whatever it contains. */
  private heartbeats: Array<Deferred.Deferred<boolean>> = []
  private casting = false
  private swapping = false
  private castsPausedUntil = Number.NEGATIVE_INFINITY
  private swapsPausedUntil = Number.NEGATIVE_INFINITY
  private hearAt = Number.NEGATIVE_INFINITY
  /** Until then the store takes this process for alive. */
  private livesUntil = Number.NEGATIVE_INFINITY
  private hearingLater = false

  constructor(context: FleetContext, hearing: Hearing) {
    this.context = context
    this.hearing = hearing
  }

  /** Sends the circuit's ballot with the next command. */
  cast(circuit: LiveCircuit): void {
    this.casts.add(circuit)
    this.wake()
  }

  /** Hears a roll call that was announced. */
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
   * An exchange, even if there is nothing to send. Returns whether the store carried it out. For a process that is leaving it is the
   * last one, which says that the process no longer lives.
   */
  get heartbeat(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const answered = Deferred.makeUnsafe<boolean>()
      this.heartbeats.push(answered)
      this.wake()
      return Deferred.await(answered)
    })
  }

  /** Whether a swap would be sent. */
  takes(pace: Pace): boolean {
    return !this.context.client.down && (pace !== "Now" || this.context.now() >= this.swapsPausedUntil)
  }

  /**
   * Swaps a record. `make` is called when the command is sent; if it returns nothing, the swap is dropped. The result is undefined if
   * the command failed.
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
    // While the store is down only heartbeats ask whether it still is.
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
    // The call that caused this finishes first.
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
   * Before each command: a process that the store may take for dead by the time the command arrives must not say that it has heard
   * roll calls. Its ballots are gone, and it would be taken to abstain.
   */
  private checkLife(): void {
    if (this.context.now() + this.context.client.deadlineMillis >= this.livesUntil) this.begin()
  }

  /** If the store has begun another life, this process has heard and cast nothing in it, whatever the numbers are. */
  private noteLife(life: string): void {
    const { hearing } = this
    if (hearing.life !== "" && hearing.life !== life) this.begin()
    hearing.life = life
  }

  /** To the store this process is a new one. */
  begin(): void {
    this.hearing.forget()
    this.voting.dropped()
  }

  private get sendCasts(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { context, hearing, voting } = this
      this.checkLife()
      if (context.client.down || context.leaving) return this.sendBatch(new Map(), hearing.confirmed, hearing.life)
      const unsure = hearing.queued.filter((one) => voting.isUnsure(one)).slice(0, limits.load)
      const read = unsure.length === 0 ? Effect.void : voting.read(unsure)
      return Effect.flatMap(read, () => {
        // The read took its time.
        this.checkLife()
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
        if (isNews || this.heartbeats.length > 0) return this.sendBatch(batch, heard, life)
        // What cannot be answered now is tried again a little later.
        if (hearing.isBehind) this.castsPausedUntil = context.now() + context.spread(pauseMillis)
        return Effect.void
      })
    })
  }

  /** Adds the ballots that are owed to roll calls, while there is room. Returns the number of the last roll call that is answered. */
  private answerRollCalls(batch: Map<LiveCircuit, Cast>): number {
    const { hearing, voting } = this
    let { confirmed: heard } = hearing
    for (const rollCall of hearing.queued) {
      // The read failed, had no room for it, or was sent before this was heard.
      if (voting.isUnsure(rollCall)) return heard
      const circuit = voting.owed(rollCall)
      if (circuit !== undefined && !batch.has(circuit)) {
        if (batch.size >= limits.casts) return heard
        const cast = voting.build(circuit)
        // The ballot that it owes cannot be built now.
        if (cast === undefined) return heard
        batch.set(circuit, cast)
      }
      heard = rollCall.seq
    }
    return hearing.latest
  }

  private sendBatch(batch: ReadonlyMap<LiveCircuit, Cast>, heard: number, life: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { context, hearing, heartbeats, voting } = this
      const sentAt = context.now()
      const { generation } = hearing
      if (batch.size === 0 && heartbeats.length === 0) this.hearAt = sentAt + hearingMillis
      this.heartbeats = []
      for (const circuit of batch.keys()) voting.sent(circuit)
      const sent = this.exchange({ casts: [...batch.values()], swaps: [], heard, life })
      return Effect.flatMap(sent, (answer) => {
        for (const heartbeat of heartbeats) Deferred.doneUnsafe(heartbeat, Exit.succeed(answer !== undefined))
        if (answer === undefined) {
          this.castsPausedUntil = context.now() + context.spread(pauseMillis)
          for (const circuit of batch.keys()) {
            voting.unsent(circuit)
            if (!context.client.down) this.casts.add(circuit)
          }
          if (context.client.down) {
            for (const circuit of this.casts) voting.unsent(circuit)
            this.casts.clear()
          }
          return Effect.void
        }
        if (hearing.generation === generation) hearing.confirm(answer.life !== life || heard > answer.head ? 0 : heard)
        return Effect.forEach(
          [...batch],
          ([circuit, cast], place) => {
            const one = answer.casts[place]
            if (one === undefined) return Effect.sync(() => voting.unsent(circuit))
            return Effect.catchCause(voting.answered(circuit, cast, one, sentAt), (cause) =>
              quietly(Effect.logError(`The store's answer to a ballot cannot be used: ${foreignText(cause)}`))
            )
          },
          { discard: true }
        )
      })
    })
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
    return Effect.suspend(() => {
      const { context, hearing } = this
      this.checkLife()
      if (context.client.down) return Effect.sync(() => this.swapsFailed(this.swaps.splice(0)))
      const { confirmed, life } = hearing
      const sentAt = context.now()
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
      return Effect.map(this.exchange({ casts: [], swaps, heard: confirmed, life }), (answer) => {
        if (answer === undefined) return this.swapsFailed(batch)
        for (const [place, { answered }] of batch.entries()) {
          const one = answer.swaps[place]
          Deferred.doneUnsafe(answered, Exit.succeed(one === undefined ? undefined : { answer: one, sentAt }))
        }
        this.wake()
        // Meanwhile the other lane has confirmed other roll calls than this command did: confirm them again.
        if (hearing.confirmed !== confirmed) context.runtime.background(this.heartbeat)
      })
    })
  }

  private swapsFailed(batch: ReadonlyArray<Waiting>): void {
    this.swapsPausedUntil = this.context.now() + this.context.spread(pauseMillis)
    for (const { answered } of batch) Deferred.doneUnsafe(answered, Exit.succeed(undefined))
    this.wake()
  }

  private exchange(
    what: Pick<Exchange, "casts" | "swaps" | "heard" | "life">
  ): Effect.Effect<ExchangeDone | undefined> {
    const { context, hearing } = this
    const before = { latest: hearing.latest, missing: hearing.missing }
    const { generation } = hearing
    const { floor, ttl, voter } = context
    const sentAt = context.now()
    const sent = context.client.exchange((notAfter) => context.store.exchange({ voter, ttl, notAfter, floor, ...what }))
    const taken = Effect.map(sent, (answer) => {
      if (answer === undefined || ttl === 0) return answer
      context.noteLive(answer.live, answer.liveFor)
      this.livesUntil = Math.max(this.livesUntil, sentAt + ttl)
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
