import * as Effect from "effect/Effect"
import * as Circuit from "../../Circuit.ts"
import * as Fleet from "../../Fleet.ts"
import * as Trip from "../../Trip.ts"
import type * as Window from "../../Window.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { nextCooldown } from "../engine/move.ts"
import type { Share, Snapshot } from "../engine/share.ts"
import type { Ground } from "./ground.ts"
import type { Records } from "./records.ts"

/** A ballot that is not renewed for this long counts no more. */
const ttlMillis = 10_000

/** The others are asked for this long, or for four times `hold`; who has not answered by then does not. */
const inquiryMillis = 300

/** After an inquiry that came to nothing the next waits, twice as long each time, within these. */
const firstQuietMillis = 75
const lastQuietMillis = 10_000

/** An opening of this process's own asks the others at once, but no more often than this. */
const tripMillis = 1_000

/** An open circuit is believed for this long, if others succeed; after that it has no say until it fails again. */
const believedMillis = 5_000

/** So many ballots of one circuit may be cast in a row; after that one per `hold`. */
const burst = 3

/** What this process says of its circuits, when it asks the others, and what it makes of what they say. */
export class Ballots {
  private readonly ground: Ground
  private readonly records: Records

  constructor(ground: Ground, records: Records) {
    this.ground = ground
    this.records = records
  }

  /** A call failed: begins to suspect, or is heard in what goes on already. */
  failed(circuit: LiveCircuit, now: number): void {
    const { fleet } = circuit.policy
    if (fleet === false) return
    const asked = circuit.share !== undefined && this.isAsked(circuit.share, now)
    const mayAsk = circuit.seen().streak >= fleet.suspectAfter && now >= (circuit.share?.quietUntil ?? now)
    if ((!mayAsk && !asked) || !this.ground.isShareable(circuit)) return
    const share = this.ground.shareOf(circuit)
    if (mayAsk && this.ballot(circuit, share)?.conviction === 1) this.inquire(circuit, share, now)
    // Where most agree already, each further failure may be what the policy waits for.
    else if (asked && share.agreed) this.say(circuit, share)
    else if (asked) this.update(circuit, share)
  }

  /** A call succeeded: whoever was told otherwise is told this. */
  succeeded(circuit: LiveCircuit, now: number): void {
    const { share } = circuit
    if (share === undefined) return
    if (share.unsaid !== undefined) share.unsaid = { ...share.unsaid, streak: 0 }
    if (!this.ground.link.down && this.isAsked(share, now)) this.update(circuit, share)
  }

  /** It is about to open by itself, and to forget what it saw. */
  opening(circuit: LiveCircuit, now: number): void {
    if (!this.ground.isShareable(circuit)) return
    const share = this.ground.shareOf(circuit)
    share.opened = { ...this.told(circuit, share, now), doubted: false }
  }

  /** It has opened by itself: the others are asked at once. */
  opened(circuit: LiveCircuit): void {
    if (!this.ground.isShareable(circuit)) return
    const now = this.ground.now()
    const share = this.ground.shareOf(circuit)
    // A probe of its own that failed is fresh evidence of the same.
    share.opened = { ...(share.opened ?? this.seen(circuit, now)), at: now, doubted: false }
    if (now < share.inquiryUntil || now - share.trippedAt < tripMillis) this.say(circuit, share)
    else {
      share.trippedAt = now
      this.inquire(circuit, share, now)
    }
  }

  /** It closed by itself: it has nothing to say. */
  closed(circuit: LiveCircuit): void {
    const { share } = circuit
    if (share === undefined) return
    share.opened = undefined
    if (share.said !== undefined) this.say(circuit, share)
  }

  /** Another process asks. */
  asked(circuit: LiveCircuit): void {
    const { fleet } = circuit.policy
    const now = this.ground.now()
    if (fleet === false) return
    // Who has opened by himself has not called it since, and has his say.
    if (circuit.share?.opened === undefined && now - circuit.seen().lastAt > fleet.observationMillis) return
    const share = this.ground.shareOf(circuit)
    if (now >= share.inquiryUntil) this.begin(share, now, inquiryOf(circuit))
    // To an inquiry of its own, too: what the others answered meanwhile is heard the sooner.
    if (isFresh(share, now)) this.update(circuit, share)
    else this.say(circuit, share)
  }

  /** What was seen up to now is not told: there was nobody to tell. */
  keepToItself(circuit: LiveCircuit): void {
    const now = this.ground.now()
    if (!this.ground.isShareable(circuit) || circuit.seen().isQuiet(now)) return
    const { era } = circuit.control.value
    this.ground.shareOf(circuit).unsaid = { ...this.seen(circuit, now), era, calls: callsOf(circuit) }
  }

  /** Says again what still holds before it expires. */
  renew(circuit: LiveCircuit, share: Share): void {
    if (share.opened !== undefined && !isFresh(share, this.ground.now())) this.say(circuit, share)
  }

  /** Whether there is nothing that it has said, or is about to. */
  isSilent(share: Share, now: number): boolean {
    return !share.casting && !share.waiting && now >= share.quietUntil && !isFresh(share, now)
  }

  /** Whether somebody holds a ballot of this process that says failing, or asks for one. */
  private isAsked(share: Share, now: number): boolean {
    return now < share.inquiryUntil || (share.said !== undefined && share.said.conviction > 0)
  }

  private begin(share: Share, now: number, lasts: number): void {
    share.fruitless = now - share.quietUntil > lastQuietMillis ? 0 : share.fruitless + 1
    share.inquiryUntil = now + lasts
    share.quietUntil = share.inquiryUntil + Math.min(lastQuietMillis, firstQuietMillis * 2 ** share.fruitless)
  }

  private inquire(circuit: LiveCircuit, share: Share, now: number): void {
    const lasts = inquiryOf(circuit)
    this.begin(share, now, lasts)
    this.say(circuit, share, lasts)
  }

  /** Casts a ballot if it says something else than the last. */
  private update(circuit: LiveCircuit, share: Share): void {
    if (this.ballot(circuit, share)?.conviction !== share.said?.conviction) this.say(circuit, share)
  }

  private seen(circuit: LiveCircuit, now: number): Snapshot {
    const evidence = circuit.seen()
    return { at: now, streak: evidence.streakAt(now), counts: evidence.counts(now).map(({ counts }) => counts) }
  }

  /** What it has seen, less what it keeps to itself as long as that is still part of it. */
  private told(circuit: LiveCircuit, share: Share, now: number): Snapshot {
    const seen = this.seen(circuit, now)
    const { unsaid } = share
    if (unsaid === undefined) return seen
    if (unsaid.era !== circuit.control.value.era) {
      share.unsaid = undefined
      return seen
    }
    const since = callsOf(circuit) - unsaid.calls
    const counts = Trip.windows(circuit.policy.trip).map((over, place) => {
      const gone = over._tag === "Calls" ? since >= over.calls : now - unsaid.at >= over.millis
      return gone ? undefined : unsaid.counts[place]
    })
    return {
      at: seen.at,
      streak: Math.max(0, seen.streak - unsaid.streak),
      counts: seen.counts.map((one, place) => less(one, counts[place]))
    }
  }

  /** What this process has to say now; nothing where it has seen nothing lately, or is no longer believed. */
  private ballot(circuit: LiveCircuit, share: Share): Fleet.Ballot | undefined {
    const { fleet } = circuit.policy
    const control = circuit.control.value
    if (fleet === false || share.isFleets(control) || Circuit.isForced(control)) return undefined
    const now = this.ground.now()
    if (control._tag === "Closed") {
      if (now - circuit.seen().lastAt > fleet.observationMillis) return undefined
      const seen = this.told(circuit, share, now)
      return { ...seen, conviction: Fleet.conviction(seen.streak, seen.counts, fleet), open: false }
    }
    const { opened } = share
    // What was seen while nobody could be told is not told afterwards: it may have had the same cause.
    if (opened === undefined || opened.doubted || opened.at < this.ground.link.connectedAt) return undefined
    return { ...opened, conviction: 1, open: true }
  }

  /** Casts a ballot, or takes it back where there is nothing to say: in the background, and no more often than is allowed. */
  private say(circuit: LiveCircuit, share: Share, ask = 0): void {
    const { link, runtime } = this.ground
    if (link.down) return
    if (share.casting) {
      share.again = true
      return
    }
    const now = this.ground.now()
    const { fleet } = circuit.policy
    const hold = fleet === false ? 0 : fleet.holdMillis
    if (ask === 0 && share.allowance - now > (burst - 1) * hold) {
      this.later(circuit, share, share.allowance - now - (burst - 1) * hold)
      return
    }
    share.allowance = Math.max(now, share.allowance) + hold
    share.casting = true
    // After what the call that brought this about still has to do.
    runtime.background(
      Effect.ensuring(
        Effect.andThen(Effect.yieldNow, this.cast(circuit, share, ask)),
        Effect.sync(() => {
          share.casting = false
          if (!share.again) return
          share.again = false
          this.say(circuit, share)
        })
      )
    )
  }

  /** Says what there is to say then; of several such the first. */
  private later(circuit: LiveCircuit, share: Share, millis: number): void {
    if (share.waiting) return
    share.waiting = true
    const then = Effect.sync(() => {
      share.waiting = false
      if (this.isAsked(share, this.ground.now())) this.say(circuit, share)
    })
    // A whole millisecond at least: less may be no time at all for a clock, and would come round for ever.
    this.ground.runtime.background(Effect.andThen(Effect.sleep(Math.ceil(Math.max(1, millis))), then))
  }

  /** Takes back what was said. */
  takeBack(circuit: LiveCircuit): Effect.Effect<void> {
    const { share } = circuit
    // What is on its way is taken back after it.
    if (share === undefined || (share.said === undefined && !share.casting)) return Effect.void
    share.opened = undefined
    return Effect.asVoid(
      this.ground.link.run(() => this.ground.store.cast({ ...this.box(circuit, share), ballot: undefined, inquire: 0 }))
    )
  }

  private box(circuit: LiveCircuit, share: Share) {
    const { ground } = this
    return {
      circuit: ground.idOf(circuit),
      era: share.known?.era ?? 0,
      box: ground.fingerprint(circuit.policy),
      voice: ground.voice,
      ttl: ttlMillis
    }
  }

  private cast(circuit: LiveCircuit, share: Share, inquire: number): Effect.Effect<void> {
    const { ground } = this
    return Effect.suspend(() => {
      const ballot = this.ballot(circuit, share)
      if (ground.leaving || (ballot === undefined && share.said === undefined)) return Effect.void
      const at = ground.now()
      const box = this.box(circuit, share)
      const numbers = ballot === undefined ? undefined : Fleet.toNumbers(ballot)
      const cast = () => ground.store.cast({ ...box, ballot: numbers, inquire })
      return Effect.flatMap(ground.link.run(cast), (reply) => {
        if (reply === undefined) return Effect.void
        const { live, record, tally } = reply.answer
        const alive = ground.countLive(live)
        if (tally === undefined) {
          share.said = undefined
          return Effect.map(this.records.learn(circuit, record, at), () => {
            // The ballot was about another era: if there is one to say about the one that holds, it is said now.
            if ((share.known?.era ?? 0) !== box.era) share.again = true
          })
        }
        share.said = ballot === undefined ? undefined : { conviction: ballot.conviction, at }
        if (ballot === undefined || ballot.conviction === 0) return Effect.void
        const { asked, sums, voices } = tally
        return this.weigh(circuit, share, box.era, Fleet.fromSums(sums, { voices, live: alive, asked }))
      })
    })
  }

  /** Reads what all have said; opens for all if that is what it comes to. */
  private weigh(circuit: LiveCircuit, share: Share, era: number, tally: Fleet.Tally): Effect.Effect<void> {
    const { ground } = this
    const { policy } = circuit
    const { fleet, trip } = policy
    const now = ground.now()
    const current = this.records.current(circuit, now)
    if (fleet === false || (share.known?.era ?? 0) !== era || !mayOpen(current, now)) return Effect.void
    this.doubt(circuit, share, tally, now)
    const more = { openings: Circuit.openings(current, now), time: ground.runtime.time.wall() }
    const verdict = judge(tally, trip, fleet, more)
    share.agreed = verdict._tag === "Wait" && verdict.agreed
    if (verdict._tag === "Open") return this.open(circuit, era, current, verdict.detail)
    if (verdict._tag === "Wait" && now < share.inquiryUntil && tally.asked !== undefined) {
      // Others answer after this one has: the sum is asked for again when all have had their time.
      this.later(circuit, share, tally.asked < fleet.holdMillis ? fleet.holdMillis - tally.asked + 1 : fleet.holdMillis)
    }
    return Effect.void
  }

  /** An open circuit among others that succeed is no longer believed after a while. */
  private doubt(circuit: LiveCircuit, share: Share, tally: Fleet.Tally, now: number): void {
    const { opened } = share
    if (opened === undefined || now - opened.at < believedMillis || tally.voices === tally.failing) return
    share.opened = { ...opened, doubted: true }
    this.say(circuit, share)
  }

  private open(circuit: LiveCircuit, era: number, current: Circuit.Circuit, detail: string): Effect.Effect<void> {
    const { runtime } = this.ground
    const own = circuit.control.value
    const hint = Math.max(circuit.seen().hintUntil, own._tag === "Open" ? own.until : 0)
    return Effect.flatMap(nextCooldown(runtime, circuit, current, hint), (openFor) => {
      const cause: Circuit.Cause = { why: "Tripped", detail, actor: undefined }
      return Effect.asVoid(
        this.records.commit(
          circuit,
          (state, now) => {
            if (!mayOpen(state, now)) return state
            const opened = Circuit.open(state, now, { openFor, cause, at: runtime.time.wall() })
            // The outage began when this process opened its own circuit, if it did so before the fleet agreed.
            return { ...opened, outage: Circuit.outage(own) ?? opened.outage }
          },
          cause,
          { fenced: era }
        )
      )
    })
  }
}

const inquiryOf = ({ policy: { fleet } }: LiveCircuit): number =>
  Math.max(inquiryMillis, fleet === false ? 0 : 4 * fleet.holdMillis)

/** Whether what was said counts for some time to come. */
const isFresh = ({ said }: Share, now: number): boolean => said !== undefined && now - said.at < ttlMillis * 0.8

/** A fleet that is open, or that somebody probes, has decided; one whose opening nobody probes may decide again. */
const mayOpen = (circuit: Circuit.Circuit, now: number): circuit is Circuit.Closed | Circuit.Open =>
  circuit._tag === "Closed" || (circuit._tag === "Open" && now >= circuit.until)

/** A custom trip that throws does not trip; each process reports its own. */
const judge: typeof Fleet.judge = (...args) => {
  try {
    return Fleet.judge(...args)
  } catch {
    return { _tag: "Wait", agreed: false }
  }
}

const callsOf = (circuit: LiveCircuit): number => circuit.successes + circuit.failures

const less = (counts: Window.Counts, of: Window.Counts | undefined): Window.Counts => ({
  calls: Math.max(0, counts.calls - (of?.calls ?? 0)),
  failures: Math.max(0, counts.failures - (of?.failures ?? 0)),
  slow: Math.max(0, counts.slow - (of?.slow ?? 0)),
  weight: Math.max(0, counts.weight - (of?.weight ?? 0))
})
