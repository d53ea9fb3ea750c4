import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type { Share } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { fromCircuitId } from "../store/codec.ts"
import type { Cast, CastAnswer, RollCall } from "../store/SharedStore.ts"
import type { Ground } from "./context.ts"
import { copyEvidence, keepBack, seen, told } from "./evidence.ts"
import type { Judging } from "./judging.ts"
import type { Lanes, Voting } from "./lanes.ts"
import type { Records } from "./records.ts"

/** A ballot counts this long, if it is not renewed. */
const ttlMillis = 10_000
/**
 * A ballot that answers a roll call counts for the roll call's term, and this much longer: a ballot that ended earlier would be
 * taken for an abstention.
 */
const rolledMillis = 5_000
/** A roll call that is further ahead of the store's clock does not come from its clock. */
const longestAheadMillis = 3_600_000
/** A ballot is renewed if it ends within this time. */
const renewMillis = 2_000

/** The others are asked for this long, or for four times `hold`. */
const inquiryMillis = 300

/** After an inquiry that came to nothing the next waits, twice as long each time, within these. */
const firstQuietMillis = 75
const lastQuietMillis = 10_000

/** An opening of this process's own asks the others at once, but no more often than this. */
const tripMillis = 1_000

/** So many ballots of one circuit may be cast in a row; after that one per `hold`. */
const burst = 3

/** How many abstentions are remembered, for circuits that this process does not have. */
const maxAbstained = 10_000

/** Decides when this process casts a ballot, and what the ballot says. */
export class Ballots implements Voting {
  private readonly ground: Ground
  private readonly records: Records
  private readonly lanes: Lanes
  private readonly judging: Judging
  /** Roll calls whose circuit's record was read for them. */
  private readonly wasRead = new WeakSet<RollCall>()
  /** The circuits that this process does not have and abstained for in a roll call, with the time until which that counts. */
  private readonly abstained = new Map<string, number>()
  /** During a stall, and right after it, this process casts no ballots. */
  isStalled: () => boolean = () => false

  constructor(ground: Ground, records: Records, lanes: Lanes, judging: Judging) {
    this.ground = ground
    this.records = records
    this.lanes = lanes
    this.judging = judging
  }

  // ---- What happens in this process ---------------------------------------------------------------------------------

  /** A call failed: this process begins to suspect, or says so in an inquiry that goes on. */
  failed(circuit: LiveCircuit, now: number): void {
    const { fleet } = circuit.policy
    if (fleet === false) return
    const ballots = circuit.share?.ballots
    const asked = ballots !== undefined && this.isAsked(ballots, now)
    const mayAsk = circuit.seen().streak >= fleet.suspectAfter && now >= (ballots?.quietUntil ?? now)
    const abstained = ballots !== undefined && now < ballots.abstainedUntil
    if ((!mayAsk && !asked && !abstained) || !this.ground.isShareable(circuit)) return
    const share = this.ground.shareOf(circuit)
    if (mayAsk && this.ballot(circuit, share)?.conviction === 1) this.inquire(circuit, share, now)
    // If most agree already, each further failure may be what the policy waits for.
    else if (abstained || (asked && share.ballots.agreed)) this.say(circuit, share)
    else if (asked) this.update(circuit, share)
  }

  /** A call succeeded: tells the others, if they were told of failures or were told nothing. */
  succeeded(circuit: LiveCircuit, now: number): void {
    const { share } = circuit
    if (share === undefined) return
    const { ballots } = share
    if (ballots.keptBack !== undefined) ballots.keptBack = { ...ballots.keptBack, streak: 0 }
    if (this.ground.link.down) return
    if (now < ballots.abstainedUntil) this.say(circuit, share)
    else if (this.isAsked(ballots, now)) this.update(circuit, share)
  }

  /** It is about to open by itself, and to forget what it saw. */
  opening(circuit: LiveCircuit, now: number): void {
    if (!this.ground.isShareable(circuit)) return
    const share = this.ground.shareOf(circuit)
    share.ballots.opened = { ...told(circuit, share, now), doubted: false }
  }

  /** It has opened by itself: the others are asked at once. */
  opened(circuit: LiveCircuit): void {
    if (!this.ground.isShareable(circuit)) return
    const now = this.ground.now()
    const share = this.ground.shareOf(circuit)
    const { ballots } = share
    // A probe of its own that failed is fresh evidence of the same.
    ballots.opened = { ...(ballots.opened ?? seen(circuit, now)), at: now, doubted: this.isStalled() }
    if (now < ballots.inquiryUntil || now - ballots.trippedAt < tripMillis) this.say(circuit, share)
    else {
      ballots.trippedAt = now
      this.inquire(circuit, share, now)
    }
  }

  /** It closed by itself: it has nothing to say. */
  closed(circuit: LiveCircuit): void {
    const { share } = circuit
    if (share === undefined) return
    share.ballots.opened = undefined
    if (share.ballots.said !== undefined) this.say(circuit, share)
  }

  /** The circuit takes over the fleet's state: its earlier ballot was about another state. */
  adopted({ ballots }: Share): void {
    ballots.said = undefined
    ballots.opened = undefined
    ballots.fruitless = 0
  }

  /** A circuit is new in this process. */
  created(circuit: LiveCircuit): void {
    if (this.abstained.size === 0 || !this.ground.isShareable(circuit)) return
    const id = this.ground.idOf(circuit)
    const until = this.abstained.get(id)
    if (until === undefined) return
    this.abstained.delete(id)
    abstains(this.ground.shareOf(circuit), until)
  }

  /** The store goes down. */
  copyEvidence(circuit: LiveCircuit): void {
    const now = this.ground.now()
    if (!this.ground.isShareable(circuit) || circuit.seen().isQuiet(now)) return
    copyEvidence(circuit, this.ground.shareOf(circuit), now)
  }

  /** Keeps back what was seen while the store was down or this process stalled: the failures may have the same cause. */
  keepBack(circuit: LiveCircuit): void {
    const now = this.ground.now()
    if (!this.ground.isShareable(circuit) || circuit.seen().isQuiet(now)) return
    keepBack(circuit, this.ground.shareOf(circuit), now)
  }

  /** Renews the ballot of an opening before it ends. */
  renew(circuit: LiveCircuit, share: Share): void {
    const { opened } = share.ballots
    if (opened !== undefined && !opened.doubted && !isFresh(share, this.ground.now())) this.say(circuit, share)
  }

  /** Whether there is nothing that it has said, or is about to. */
  isSilent(share: Share, now: number): boolean {
    const { abstainedUntil, quietUntil, readAt, sending, waiting } = share.ballots
    const isIdle = !sending && !waiting && readAt === undefined
    return isIdle && now >= quietUntil && now >= abstainedUntil && !isFresh(share, now)
  }

  // ---- What the others ask ------------------------------------------------------------------------------------------

  /** Another process asks. */
  asked(circuit: LiveCircuit): void {
    const now = this.ground.now()
    if (!this.hasSay(circuit, now)) return
    const share = this.ground.shareOf(circuit)
    if (now >= share.ballots.inquiryUntil) this.begin(share, now, inquiryOf(circuit))
    // Also for an inquiry of its own: the store's answer contains the ballots that others have cast meanwhile.
    if (isFresh(share, now)) this.update(circuit, share)
    else this.say(circuit, share)
  }

  /** Whether this process has anything to say of a circuit: it has called it lately, or has opened by itself. */
  private hasSay(circuit: LiveCircuit, now: number): boolean {
    const { fleet } = circuit.policy
    if (fleet === false) return false
    return circuit.share?.ballots.opened !== undefined || now - circuit.seen().lastAt <= fleet.observationMillis
  }

  /** The circuit of a roll call, if this process has it and shares it. */
  private circuitOf({ circuit }: RollCall): LiveCircuit | undefined {
    const { ground } = this
    const which = fromCircuitId(circuit)
    const found = which === undefined ? undefined : ground.registry.peek(which.name, which.key)
    return found !== undefined && ground.isShareable(found) ? found : undefined
  }

  /** Whether this process counts its ballots in the box of a roll call. */
  private isVoter(circuit: LiveCircuit, { box }: RollCall): boolean {
    return circuit.group.declared && box === this.ground.boxOf(circuit)
  }

  isUnsure(rollCall: RollCall): boolean {
    const circuit = this.circuitOf(rollCall)
    if (circuit === undefined || !this.isVoter(circuit, rollCall)) return false
    if ((circuit.share?.votingEpoch ?? 0) === rollCall.epoch) return false
    return this.hasSay(circuit, this.ground.now()) && !this.wasRead.has(rollCall)
  }

  read(rollCalls: ReadonlyArray<RollCall>): Effect.Effect<boolean> {
    const circuits = new Set(rollCalls.map(({ circuit }) => circuit))
    return Effect.map(this.records.loadAll([...circuits]), (isRead) => {
      if (isRead) for (const one of rollCalls) this.wasRead.add(one)
      return isRead
    })
  }

  owed(rollCall: RollCall): LiveCircuit | undefined {
    const { ground } = this
    const now = ground.now()
    const until = now + this.aheadOf(rollCall) + rollCall.term + rolledMillis
    const circuit = this.circuitOf(rollCall)
    if (circuit === undefined) {
      this.rememberAbstention(rollCall.circuit, until)
      return undefined
    }
    const share = ground.shareOf(circuit)
    const { votingEpoch } = share
    // The roll call is about a record that was replaced. (If the record was not read, the store may have lost the newer one.)
    if (votingEpoch > rollCall.epoch && this.wasRead.has(rollCall)) return undefined
    const { ballots } = share
    ballots.rolledUntil = Math.max(ballots.rolledUntil, until)
    // The others receive the roll call now, too: read the sum again soon.
    ballots.resumMillis = 0
    const votes = this.isVoter(circuit, rollCall) && votingEpoch === rollCall.epoch && this.hasSay(circuit, now)
    if (!votes || this.ballot(circuit, share) === undefined) {
      abstains(share, until)
      return undefined
    }
    // Cast the ballot again even if the store should have it: a store that was wiped has lost it.
    return circuit
  }

  /** How far the store's clock is behind the time of a roll call, because the clock stepped back. The roll call lasts longer by this. */
  private aheadOf({ seq }: RollCall): number {
    const { storeNow = Infinity } = this.ground.link
    return Math.min(longestAheadMillis, Math.max(0, seq / 1_000 - storeNow))
  }

  private rememberAbstention(id: string, until: number): void {
    const [first] = this.abstained
    const isOver = first !== undefined && this.ground.now() >= first[1]
    if (first !== undefined && (isOver || this.abstained.size >= maxAbstained)) this.abstained.delete(first[0])
    this.abstained.delete(id)
    this.abstained.set(id, until)
  }

  /** Whether another process has a ballot of this process that says failing, or asks for one. */
  private isAsked({ inquiryUntil, said }: Share["ballots"], now: number): boolean {
    return now < inquiryUntil || (said !== undefined && said.conviction > 0)
  }

  private begin({ ballots }: Share, now: number, lasts: number): void {
    ballots.fruitless = now - ballots.quietUntil > lastQuietMillis ? 0 : ballots.fruitless + 1
    ballots.inquiryUntil = now + lasts
    ballots.quietUntil = ballots.inquiryUntil + Math.min(lastQuietMillis, firstQuietMillis * 2 ** ballots.fruitless)
  }

  private inquire(circuit: LiveCircuit, share: Share, now: number): void {
    const lasts = inquiryOf(circuit)
    this.begin(share, now, lasts)
    share.ballots.inquire = lasts
    this.say(circuit, share, true)
  }

  // ---- Casting ------------------------------------------------------------------------------------------------------

  /** Casts a ballot if it says something else than the last. */
  private update(circuit: LiveCircuit, share: Share): void {
    if (this.ballot(circuit, share)?.conviction !== share.ballots.said?.conviction) this.say(circuit, share)
  }

  /** The ballot that this process would cast now; `undefined` if it has no recent evidence of its own. */
  private ballot(circuit: LiveCircuit, share: Share): Fleet.Ballot | undefined {
    const { fleet } = circuit.policy
    const control = circuit.control.value
    if (fleet === false || share.isFleets(control) || Circuit.isForced(control)) return undefined
    const now = this.ground.now()
    if (control._tag === "Closed") {
      if (now - circuit.seen().lastAt > fleet.observationMillis) return undefined
      const all = told(circuit, share, now)
      return { ...all, conviction: Fleet.conviction(all.streak, all.counts, fleet), open: false }
    }
    const { opened } = share.ballots
    if (opened === undefined) return undefined
    if (opened.doubted) {
      // It has called the circuit lately, so it objects. If it abstained, a few other processes would be the majority.
      return now - opened.at > fleet.observationMillis
        ? undefined
        : { ...opened, conviction: 0, streak: 0, open: false }
    }
    // An opening that was made while the store was down may have the same cause.
    const { connectedAt, downAt } = this.ground.link
    if (opened.at >= downAt && opened.at < connectedAt) return undefined
    return { ...opened, conviction: 1, open: true }
  }

  /** Casts the ballot with the next command, or withdraws it if there is nothing to say. `atOnce` ignores the rate limit. */
  say(circuit: LiveCircuit, share: Share, atOnce = false): void {
    const { ballots } = share
    if (this.ground.link.down || this.isStalled() || ballots.waiting) return
    const now = this.ground.now()
    const { fleet } = circuit.policy
    const hold = fleet === false ? 0 : fleet.holdMillis
    const wait = ballots.allowance - now - (burst - 1) * hold
    if (!atOnce && wait > 0) {
      this.later(circuit, share, wait)
      return
    }
    ballots.allowance = Math.max(now, ballots.allowance) + hold
    ballots.waiting = true
    this.lanes.cast(circuit)
  }

  /** Casts the ballot after this time, unless an earlier time is set already. */
  later(circuit: LiveCircuit, share: Share, millis: number): void {
    const { ballots } = share
    // At least a whole millisecond: a clock may round less to zero, and this would repeat for ever.
    const wait = Math.ceil(Math.max(1, millis))
    const at = this.ground.now() + wait
    if (ballots.readAt !== undefined && ballots.readAt <= at) return
    ballots.readAt = at
    const then = Effect.sync(() => {
      if (ballots.readAt !== at) return
      ballots.readAt = undefined
      const now = this.ground.now()
      if (!this.isAsked(ballots, now) && now >= ballots.abstainedUntil) return
      // A process that is not convinced does not judge, so it need not read the sum: it only tells what it has not told yet.
      const conviction = this.ballot(circuit, share)?.conviction
      if ((conviction ?? 0) > 0 || conviction !== ballots.said?.conviction) this.say(circuit, share, true)
    })
    this.ground.runtime.background(Effect.andThen(Effect.sleep(wait), then))
  }

  build(circuit: LiveCircuit): Cast | undefined {
    const { ground } = this
    const { share } = circuit
    if (share === undefined) return undefined
    const { ballots } = share
    ballots.waiting = false
    const ballot = this.ballot(circuit, share)
    if (ground.leaving || this.isStalled() || (ballot === undefined && ballots.said === undefined)) return undefined
    const { inquire, roll } = ballots
    ballots.conviction = ballot?.conviction ?? 0
    // A process that has answered a roll call and withdraws its ballot abstains.
    if (ballot === undefined) abstains(share, ballots.rolledUntil)
    return {
      circuit: ground.idOf(circuit),
      epoch: share.votingEpoch,
      box: ground.boxOf(circuit),
      ballot: ballot === undefined ? undefined : Fleet.toNumbers(ballot),
      ttl: Math.max(ttlMillis, ballots.rolledUntil - ground.now()),
      inquire: ballot === undefined ? 0 : inquire,
      roll: ballot === undefined ? 0 : roll
    }
  }

  sent(circuit: LiveCircuit): void {
    if (circuit.share !== undefined) circuit.share.ballots.sending = true
  }

  unsent(circuit: LiveCircuit): void {
    if (circuit.share === undefined) return
    circuit.share.ballots.sending = false
    circuit.share.ballots.waiting = false
  }

  dropped(): void {
    for (const { share } of this.ground.shared) if (share !== undefined) share.ballots.said = undefined
  }

  answered(circuit: LiveCircuit, cast: Cast, answer: CastAnswer, sentAt: number): Effect.Effect<void> {
    const { share } = circuit
    if (share === undefined) return Effect.void
    const { ballots } = share
    ballots.sending = false
    ballots.inquire = 0
    ballots.tookMillis = this.ground.now() - sentAt
    const { record, tally } = answer
    if (tally === undefined) {
      ballots.said = undefined
      return Effect.map(this.records.learn(circuit, record, sentAt), () => {
        // The ballot was about another epoch: cast one about the current epoch.
        if (circuit.share === share && share.votingEpoch !== cast.epoch) this.say(circuit, share)
      })
    }
    const { ballot, ttl } = cast
    if (ballot === undefined) {
      ballots.said = undefined
      return Effect.void
    }
    ballots.abstainedUntil = Number.NEGATIVE_INFINITY
    const { conviction } = ballots
    ballots.said = { epoch: cast.epoch, box: cast.box, conviction, until: sentAt + ttl }
    // While the command was on its way, this process may have seen that the dependency works.
    if (conviction === 0 || (this.ballot(circuit, share)?.conviction ?? 0) === 0) return Effect.void
    return this.judging.weigh(this, circuit, share, cast.epoch, tally)
  }
}

const inquiryOf = ({ policy: { fleet } }: LiveCircuit): number =>
  Math.max(inquiryMillis, fleet === false ? 0 : 4 * fleet.holdMillis)

/** This process abstains from a roll call that counts until then. A ballot that it casts before then must last as long. */
const abstains = ({ ballots }: Share, until: number): void => {
  ballots.abstainedUntil = Math.max(ballots.abstainedUntil, until)
  ballots.rolledUntil = Math.max(ballots.rolledUntil, until)
}

/** Whether the last ballot is about the current record and does not end soon. */
const isFresh = (share: Share, now: number): boolean => {
  const { said } = share.ballots
  return said !== undefined && said.epoch === share.votingEpoch && said.until - now > renewMillis
}
