import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type { FleetState } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { fromCircuitId } from "../store/codec.ts"
import type { Cast, CastAnswer, RollCall } from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import { ballotEvidence, copyEvidence, keepBack, seen } from "./evidence.ts"
import type { Judging } from "./judging.ts"
import type { Lanes, Voting } from "./lanes.ts"
import type { Records } from "./records.ts"

/** How long a ballot counts if it is not renewed. */
const ttlMillis = 10_000
/** How much longer than its term a ballot for a roll call counts. If it ended earlier, the store would count an abstention. */
const rolledMillis = 5_000
/** A roll call further ahead of the store's clock does not come from that clock. */
const longestAheadMillis = 3_600_000
/** A ballot is renewed if it ends within this time. */
const renewMillis = 2_000

/** How long an inquiry lasts at least. It lasts four times `hold` if that is longer. */
const inquiryMillis = 300

/** After an inquiry without a result, the next one waits. The wait doubles each time, from the first to the last of these. */
const firstQuietMillis = 75
const lastQuietMillis = 10_000

/** An opening by this process begins an inquiry at once, but not more often than this. */
const tripMillis = 1_000

/** How many ballots of one circuit may be cast in a row. After that, one per `hold`. */
const burst = 3

/** The most abstentions that are remembered for circuits that this process does not have. */
const maxAbstained = 10_000

/** Decides when this process casts a ballot, and what the ballot says. */
export class Ballots implements Voting {
  private readonly context: FleetContext
  private readonly records: Records
  private readonly lanes: Lanes
  private readonly judging: Judging
  /** Roll calls whose circuit's record was read for them. */
  private readonly wasRead = new WeakSet<RollCall>()
  /** The roll calls in which this process abstained for circuits that it does not have: by circuit id, until when they count. */
  private readonly abstained = new Map<string, number>()

  constructor(context: FleetContext, records: Records, lanes: Lanes, judging: Judging) {
    this.context = context
    this.records = records
    this.lanes = lanes
    this.judging = judging
  }

  // ---- What happens in this process ---------------------------------------------------------------------------------

  /** A call failed: begins an inquiry, or casts a ballot for the present one. */
  failed(circuit: LiveCircuit, now: number): void {
    const { fleet } = circuit.policy
    if (fleet === false) return
    const ballots = circuit.fleetState?.ballots
    const asked = ballots !== undefined && this.isAsked(ballots, now)
    const mayAsk = circuit.streakAt(now) >= fleet.suspectAfter && now >= (ballots?.quietUntil ?? now)
    const abstained = ballots !== undefined && now < ballots.abstainedUntil
    if ((!mayAsk && !asked && !abstained) || !this.context.isShareable(circuit)) return
    const fleetState = this.context.fleetStateOf(circuit)
    if (mayAsk && this.ballot(circuit, fleetState)?.conviction === 1) this.inquire(circuit, fleetState, now)
    // Most voters already agree, so each further failure may reach the threshold.
    else if (abstained || (asked && fleetState.ballots.agreed)) this.say(circuit, fleetState)
    else if (asked) this.update(circuit, fleetState)
  }

  /** A call succeeded: casts a ballot if the others have one that says failing, or an abstention. */
  succeeded(circuit: LiveCircuit, now: number): void {
    const { fleetState } = circuit
    if (fleetState === undefined) return
    const { ballots } = fleetState
    if (ballots.keptBack !== undefined) ballots.keptBack = { ...ballots.keptBack, streak: 0 }
    if (this.context.client.down) return
    if (now < ballots.abstainedUntil) this.say(circuit, fleetState)
    else if (this.isAsked(ballots, now)) this.update(circuit, fleetState)
  }

  /** The circuit is about to open by itself and clear its evidence: copies it. */
  opening(circuit: LiveCircuit, now: number): void {
    if (!this.context.isShareable(circuit)) return
    const fleetState = this.context.fleetStateOf(circuit)
    fleetState.ballots.opened = { ...ballotEvidence(circuit, fleetState, now), doubted: false }
  }

  /** The circuit has opened by itself: begins an inquiry at once. */
  opened(circuit: LiveCircuit): void {
    if (!this.context.isShareable(circuit)) return
    const now = this.context.now()
    const fleetState = this.context.fleetStateOf(circuit)
    const { ballots } = fleetState
    // A failed probe of this process is fresh evidence.
    ballots.opened = { ...(ballots.opened ?? seen(circuit, now)), at: now, doubted: this.context.isStalled() }
    if (now < ballots.inquiryUntil || now - ballots.trippedAt < tripMillis) this.say(circuit, fleetState)
    else {
      ballots.trippedAt = now
      this.inquire(circuit, fleetState, now)
    }
  }

  /** The circuit closed by itself: withdraws its ballot. */
  closed(circuit: LiveCircuit): void {
    const { fleetState } = circuit
    if (fleetState === undefined) return
    fleetState.ballots.opened = undefined
    if (fleetState.ballots.sent !== undefined) this.say(circuit, fleetState)
  }

  /** The circuit adopts the fleet's state, so its ballot is about an earlier state. */
  adopted({ ballots }: FleetState): void {
    ballots.sent = undefined
    ballots.opened = undefined
    ballots.fruitless = 0
  }

  /** A circuit is new in this process: it may have abstained already. */
  created(circuit: LiveCircuit): void {
    if (this.abstained.size === 0 || !this.context.isShareable(circuit)) return
    const id = this.context.idOf(circuit)
    const until = this.abstained.get(id)
    if (until === undefined) return
    this.abstained.delete(id)
    abstains(this.context.fleetStateOf(circuit), until)
  }

  copyEvidence(circuit: LiveCircuit): void {
    const now = this.context.now()
    if (!this.context.isShareable(circuit) || circuit.seen().isQuiet(now)) return
    copyEvidence(circuit, this.context.fleetStateOf(circuit), now)
  }

  /** Excludes the evidence of a stall, or of the time when the store was down: the failures may have the same cause. */
  keepBack(circuit: LiveCircuit): void {
    const now = this.context.now()
    if (!this.context.isShareable(circuit) || circuit.seen().isQuiet(now)) return
    keepBack(circuit, this.context.fleetStateOf(circuit), now)
  }

  /** Renews the ballot of an opening before it ends. */
  renew(circuit: LiveCircuit, fleetState: FleetState): void {
    const { opened } = fleetState.ballots
    if (opened !== undefined && !opened.doubted && !isFresh(fleetState, this.context.now()))
      this.say(circuit, fleetState)
  }

  /** Whether no ballot of the circuit counts or is pending. */
  isSilent(fleetState: FleetState, now: number): boolean {
    const { abstainedUntil, quietUntil, readAt, sending, waiting } = fleetState.ballots
    const isIdle = !sending && !waiting && readAt === undefined
    return isIdle && now >= quietUntil && now >= abstainedUntil && !isFresh(fleetState, now)
  }

  // ---- What the others ask ------------------------------------------------------------------------------------------

  /** Another process has begun an inquiry. */
  asked(circuit: LiveCircuit): void {
    const now = this.context.now()
    if (!this.hasSay(circuit, now)) return
    const fleetState = this.context.fleetStateOf(circuit)
    if (now >= fleetState.ballots.inquiryUntil) this.begin(fleetState, now, inquiryOf(circuit))
    // This includes inquiries by this process: the answer of the store contains the ballots that others have cast since.
    if (isFresh(fleetState, now)) this.update(circuit, fleetState)
    else this.say(circuit, fleetState)
  }

  /** Whether this process votes on a circuit: it has called it recently, or has opened it by itself. */
  private hasSay(circuit: LiveCircuit, now: number): boolean {
    const { fleet } = circuit.policy
    if (fleet === false) return false
    return circuit.fleetState?.ballots.opened !== undefined || now - circuit.seen().lastAt <= fleet.observationMillis
  }

  /** The circuit of a roll call, if this process has it and shares it. */
  private circuitOf({ circuit }: RollCall): LiveCircuit | undefined {
    const { context } = this
    const which = fromCircuitId(circuit)
    const found = which === undefined ? undefined : context.registry.peek(which.name, which.key)
    return found !== undefined && context.isShareable(found) ? found : undefined
  }

  /** Whether this process counts its ballots in the box of a roll call. */
  private isVoter(circuit: LiveCircuit, { box }: RollCall): boolean {
    return circuit.group.declared && box === this.context.boxOf(circuit)
  }

  isUnsure(rollCall: RollCall): boolean {
    const { context } = this
    const circuit = this.circuitOf(rollCall)
    if (circuit === undefined || !this.isVoter(circuit, rollCall)) return false
    // A circuit without fleet state may have a remembered override.
    const epoch = context.knows(circuit) ? context.fleetStateOf(circuit).votingEpoch : 0
    if (epoch === rollCall.epoch) return false
    return this.hasSay(circuit, context.now()) && !this.wasRead.has(rollCall)
  }

  read(rollCalls: ReadonlyArray<RollCall>): Effect.Effect<boolean> {
    const circuits = new Set(rollCalls.map(({ circuit }) => circuit))
    return Effect.map(this.records.loadAll([...circuits]), (isRead) => {
      if (isRead) for (const one of rollCalls) this.wasRead.add(one)
      return isRead
    })
  }

  owed(rollCall: RollCall): LiveCircuit | undefined {
    const { context } = this
    const now = context.now()
    const until = now + this.aheadOf(rollCall) + rollCall.term + rolledMillis
    const circuit = this.circuitOf(rollCall)
    if (circuit === undefined) {
      this.rememberAbstention(rollCall.circuit, until)
      return undefined
    }
    const fleetState = context.fleetStateOf(circuit)
    const { votingEpoch } = fleetState
    // The roll call is about a replaced record. (If the record was not loaded, the store may have lost the newer one.)
    if (votingEpoch > rollCall.epoch && this.wasRead.has(rollCall)) return undefined
    const { ballots } = fleetState
    ballots.rolledUntil = Math.max(ballots.rolledUntil, until)
    // The others receive the roll call now, too: soon read the sum again.
    ballots.resumMillis = 0
    const votes = this.isVoter(circuit, rollCall) && votingEpoch === rollCall.epoch && this.hasSay(circuit, now)
    if (!votes || this.ballot(circuit, fleetState) === undefined) {
      abstains(fleetState, until)
      return undefined
    }
    // Cast the ballot again even if the store should have it: a store that was wiped has lost it.
    return circuit
  }

  /** How far the store's clock has gone back behind the time of a roll call. The roll call lasts longer by this. */
  private aheadOf({ seq }: RollCall): number {
    const { storeNow = Infinity } = this.context.client
    return Math.min(longestAheadMillis, Math.max(0, seq / 1_000 - storeNow))
  }

  private rememberAbstention(id: string, until: number): void {
    const [first] = this.abstained
    const isOver = first !== undefined && this.context.now() >= first[1]
    if (first !== undefined && (isOver || this.abstained.size >= maxAbstained)) this.abstained.delete(first[0])
    this.abstained.delete(id)
    this.abstained.set(id, until)
  }

  /** Whether the store has a ballot of this process that says failing, or an inquiry is running. */
  private isAsked({ inquiryUntil, sent }: FleetState["ballots"], now: number): boolean {
    return now < inquiryUntil || (sent !== undefined && sent.conviction > 0)
  }

  private begin({ ballots }: FleetState, now: number, lasts: number): void {
    ballots.fruitless = now - ballots.quietUntil > lastQuietMillis ? 0 : ballots.fruitless + 1
    ballots.inquiryUntil = now + lasts
    ballots.quietUntil = ballots.inquiryUntil + Math.min(lastQuietMillis, firstQuietMillis * 2 ** ballots.fruitless)
  }

  private inquire(circuit: LiveCircuit, fleetState: FleetState, now: number): void {
    const lasts = inquiryOf(circuit)
    this.begin(fleetState, now, lasts)
    fleetState.ballots.inquire = lasts
    this.say(circuit, fleetState, true)
  }

  // ---- Casting ------------------------------------------------------------------------------------------------------

  /** Casts a ballot if it says something else than the last. */
  private update(circuit: LiveCircuit, fleetState: FleetState): void {
    if (this.isNews(circuit, fleetState)) this.say(circuit, fleetState)
  }

  /** Whether the ballot that this process would cast now differs from the one that the store has. */
  private isNews(circuit: LiveCircuit, fleetState: FleetState): boolean {
    const { sent } = fleetState.ballots
    return sent?.unsure === true || this.ballot(circuit, fleetState)?.conviction !== sent?.conviction
  }

  /** The ballot that this process would cast now; `undefined` if it has no recent evidence of its own. */
  private ballot(circuit: LiveCircuit, fleetState: FleetState): Fleet.Ballot | undefined {
    const { fleet } = circuit.policy
    const control = circuit.control.value
    if (fleet === false || fleetState.isFleets(control) || Circuit.isForced(control)) return undefined
    const now = this.context.now()
    if (control._tag === "Closed") {
      if (now - circuit.seen().lastAt > fleet.observationMillis) return undefined
      const all = ballotEvidence(circuit, fleetState, now)
      return { ...all, conviction: Fleet.conviction(all.streak, all.counts, fleet), open: false }
    }
    const { opened } = fleetState.ballots
    if (opened === undefined) return undefined
    if (opened.doubted) {
      // This process has called the circuit recently, so it objects. If it abstained, a few other processes would be the majority.
      return now - opened.at > fleet.observationMillis
        ? undefined
        : { ...opened, conviction: 0, streak: 0, open: false }
    }
    // An opening that was made while the store was down may have the same cause.
    const { connectedAt, downAt } = this.context.client
    if (opened.at >= downAt && opened.at < connectedAt) return undefined
    return { ...opened, conviction: 1, open: true }
  }

  /** Casts the ballot with the next command, or withdraws it if there is no ballot. `atOnce` ignores the rate limit. */
  say(circuit: LiveCircuit, fleetState: FleetState, atOnce = false): void {
    const { ballots } = fleetState
    if (this.context.client.down || this.context.isStalled() || ballots.waiting) return
    const now = this.context.now()
    const { fleet } = circuit.policy
    const hold = fleet === false ? 0 : fleet.holdMillis
    const wait = ballots.allowance - now - (burst - 1) * hold
    if (!atOnce && wait > 0) {
      this.later(circuit, fleetState, wait)
      return
    }
    ballots.allowance = Math.max(now, ballots.allowance) + hold
    ballots.waiting = true
    this.lanes.cast(circuit)
  }

  /** Casts the ballot after this time, unless an earlier time is set already. */
  later(circuit: LiveCircuit, fleetState: FleetState, millis: number): void {
    const { ballots } = fleetState
    // At least 1 millisecond: a clock may round less to 0, and this would never stop.
    const wait = Math.ceil(Math.max(1, millis))
    const at = this.context.now() + wait
    if (ballots.readAt !== undefined && ballots.readAt <= at) return
    ballots.readAt = at
    const then = Effect.sync(() => {
      if (ballots.readAt !== at) return
      ballots.readAt = undefined
      const now = this.context.now()
      if (!this.isAsked(ballots, now) && now >= ballots.abstainedUntil) return
      // A process that is not convinced does not judge, so it need not read the sum: it only tells what it has not told yet.
      const conviction = this.ballot(circuit, fleetState)?.conviction ?? 0
      if (conviction > 0 || this.isNews(circuit, fleetState)) this.say(circuit, fleetState, true)
    })
    this.context.runtime.background(Effect.andThen(Effect.sleep(wait), then))
  }

  build(circuit: LiveCircuit): Cast | undefined {
    const { context } = this
    const { fleetState } = circuit
    if (fleetState === undefined) return undefined
    const { ballots } = fleetState
    ballots.waiting = false
    const ballot = this.ballot(circuit, fleetState)
    if (context.leaving || this.context.isStalled() || (ballot === undefined && ballots.sent === undefined))
      return undefined
    const { inquire, roll } = ballots
    ballots.conviction = ballot?.conviction ?? 0
    // A process that answered a roll call and then withdraws its ballot abstains.
    if (ballot === undefined) abstains(fleetState, ballots.rolledUntil)
    return {
      circuit: context.idOf(circuit),
      epoch: fleetState.votingEpoch,
      box: context.boxOf(circuit),
      ballot: ballot === undefined ? undefined : Fleet.toNumbers(ballot),
      ttl: Math.max(ttlMillis, ballots.rolledUntil - context.now()),
      inquire: ballot === undefined ? 0 : inquire,
      roll: ballot === undefined ? 0 : roll
    }
  }

  sent(circuit: LiveCircuit): void {
    if (circuit.fleetState !== undefined) circuit.fleetState.ballots.sending = true
  }

  unsent(circuit: LiveCircuit): void {
    if (circuit.fleetState === undefined) return
    circuit.fleetState.ballots.sending = false
    circuit.fleetState.ballots.waiting = false
  }

  dropped(): void {
    for (const { fleetState } of this.context.shared) {
      if (fleetState?.ballots.sent !== undefined) fleetState.ballots.sent = { ...fleetState.ballots.sent, unsure: true }
    }
  }

  /** When the store answers again: replaces ballots that say failing of circuits that have recovered since it went down. */
  returned(): void {
    for (const circuit of this.context.shared) {
      const { fleetState } = circuit
      const sent = fleetState?.ballots.sent
      if (fleetState === undefined || sent === undefined || sent.conviction === 0) continue
      if ((this.ballot(circuit, fleetState)?.conviction ?? 0) === 0) this.say(circuit, fleetState, true)
    }
  }

  answered(circuit: LiveCircuit, cast: Cast, answer: CastAnswer, sentAt: number): Effect.Effect<void> {
    const { fleetState } = circuit
    if (fleetState === undefined) return Effect.void
    const { ballots } = fleetState
    ballots.sending = false
    ballots.inquire = 0
    ballots.tookMillis = this.context.now() - sentAt
    const { record, tally } = answer
    if (tally === undefined) {
      ballots.sent = undefined
      return Effect.map(this.records.learn(circuit, record, sentAt), () => {
        // The ballot was about another epoch: cast one about the current epoch.
        if (circuit.fleetState === fleetState && fleetState.votingEpoch !== cast.epoch) this.say(circuit, fleetState)
      })
    }
    const { ballot, ttl } = cast
    if (ballot === undefined) {
      ballots.sent = undefined
      return Effect.void
    }
    ballots.abstainedUntil = Number.NEGATIVE_INFINITY
    const { conviction } = ballots
    ballots.sent = { epoch: cast.epoch, box: cast.box, conviction, until: sentAt + ttl, unsure: false }
    // This process may have seen in the meantime that the dependency works.
    if (conviction === 0 || (this.ballot(circuit, fleetState)?.conviction ?? 0) === 0) return Effect.void
    return this.judging.weigh(this, circuit, fleetState, { epoch: cast.epoch, askedAt: sentAt }, tally)
  }
}

const inquiryOf = ({ policy: { fleet } }: LiveCircuit): number =>
  Math.max(inquiryMillis, fleet === false ? 0 : 4 * fleet.holdMillis)

/** Notes an abstention in a roll call that counts until `until`. A later ballot must count at least as long. */
const abstains = ({ ballots }: FleetState, until: number): void => {
  ballots.abstainedUntil = Math.max(ballots.abstainedUntil, until)
  ballots.rolledUntil = Math.max(ballots.rolledUntil, until)
}

/** Whether the store certainly has the last ballot, which is about the current record and does not end soon. */
const isFresh = (fleetState: FleetState, now: number): boolean => {
  const { sent } = fleetState.ballots
  return sent?.unsure === false && sent.epoch === fleetState.votingEpoch && sent.until - now > renewMillis
}
