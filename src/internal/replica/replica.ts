import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Circuit from "../../Circuit.ts"
import * as Fleet from "../../Fleet.ts"
import type { Change, Listed, SharedStore } from "../../SharedStore.ts"
import { fromBody, fromCircuitId } from "../codec.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import type { Next } from "../engine/move.ts"
import type { Registry } from "../engine/registry.ts"
import type { Granted, Share, Unheard } from "../engine/share.ts"
import type { Place, Restore, Sharing } from "../engine/sharing.ts"
import { Ballots } from "./ballots.ts"
import { Ground } from "./ground.ts"
import { Link } from "./link.ts"
import { type Committed, Records } from "./records.ts"

/** A call that asks to be a probe waits this long at most. */
const placeMillis = 50

/** A store that does not answer is asked again after this long, or sooner if it is asked more often anyway. */
const downMillis = 1_000

/** Who starts waits this long at most to hear what is open. */
const startMillis = 200

/** Who ends waits this long at most to say so. */
const endMillis = 500

/** The announcements of a store that lost them are asked for again after this long. */
const listenAgain = Schedule.spaced("1 second")

/** Tokens of leases: too many to meet, and above all that a process gives on its own. */
const tokens = { from: 2 ** 32, count: 2 ** 52 }

/** One place that was asked for. */
interface Ticket {
  place: Place
  /** Nobody waits for it any more: it came too late, or who waited is gone. */
  abandoned: false | "Late" | "Gone"
}

/** A place for a probe, and what the probe found, as long as the store has not heard of that. */
interface Held {
  readonly circuit: LiveCircuit
  verdict: Circuit.Verdict
}

/** This process among the others: its ballots, its records, and the loop that repairs what was not heard. */
export class Replica implements Sharing {
  readonly process: string
  private readonly ground: Ground
  private readonly records: Records
  private readonly ballots: Ballots
  /** The places that its calls hold. */
  private readonly held = new Map<number, Held>()
  /** Places that were asked for and not heard of: a store may have given them all the same. */
  private readonly lost = new Map<number, { readonly circuit: LiveCircuit; readonly until: number }>()
  private reported = false

  constructor(ground: Ground) {
    this.ground = ground
    this.process = ground.voice
    this.records = new Records(ground)
    this.ballots = new Ballots(ground, this.records)
  }

  // ---- What happens to calls ----------------------------------------------------------------------------------------

  failed(circuit: LiveCircuit, now: number): void {
    this.ballots.failed(circuit, now)
  }

  succeeded(circuit: LiveCircuit, now: number): void {
    this.ballots.succeeded(circuit, now)
  }

  opening(circuit: LiveCircuit, now: number): void {
    this.ballots.opening(circuit, now)
  }

  moved(circuit: LiveCircuit, from: Circuit.Circuit, to: Circuit.Circuit, why: Circuit.Why): void {
    if (why === "HealthCheckPassed" && from.era === circuit.share?.adopted) {
      this.ground.runtime.background(this.closeFleets(circuit))
    }
    if (to._tag === "Open" && why !== "OpenedByHand") this.ballots.opened(circuit)
    else if (to._tag === "Closed") this.ballots.closed(circuit)
  }

  /** What this process found out for itself closes the fleet's circuit, too. */
  private closeFleets(circuit: LiveCircuit): Effect.Effect<unknown> {
    const close: Next = (current, now) =>
      current._tag === "Open" || current._tag === "HalfOpen" ? Circuit.close(current, now, circuit.policy) : current
    const about = { why: "HealthCheckPassed", detail: undefined, actor: undefined } as const
    return this.records.commit(circuit, close, about, { expected: true })
  }

  // ---- Probes -------------------------------------------------------------------------------------------------------

  place(circuit: LiveCircuit, restore: Restore): Effect.Effect<Place> {
    return Effect.suspend(() => {
      const { ground } = this
      const share = ground.shareOf(circuit)
      if (share.asking) return Effect.succeed(denied)
      const { known } = share
      if (ground.link.down || known === undefined || this.records.isForeign(circuit, known)) {
        return Effect.succeed(this.alone(share))
      }
      share.asking = true
      const ticket: Ticket = { place: denied, abandoned: false }
      const answered = Deferred.makeUnsafe<void>()
      const asked = Effect.andThen(this.ask(circuit, share, ticket), Deferred.succeed(answered, undefined))
      ground.runtime.background(
        Effect.ensuring(
          asked,
          Effect.sync(() => {
            share.asking = false
          })
        )
      )
      const wait = Effect.exit(restore(Effect.timeoutOption(Deferred.await(answered), placeMillis)))
      return Effect.flatMap(wait, (exit) => {
        if (exit._tag === "Success") {
          if (exit.value._tag === "Some") return Effect.succeed(ticket.place)
          ticket.abandoned = "Late"
          return Effect.succeed(denied)
        }
        ticket.abandoned = "Gone"
        if (ticket.place._tag === "Granted") this.settled(circuit, ticket.place.lease, { _tag: "Ignored" })
        return Effect.failCause(exit.cause)
      })
    })
  }

  /** A place that came too late for who asked for it is kept for the next: a slow store would never give one else. */
  private keep(circuit: LiveCircuit, share: Share, place: Granted): void {
    share.spare = place
    const giveBack = Effect.sync(() => {
      if (share.spare !== place) return
      share.spare = undefined
      this.settled(circuit, place.lease, { _tag: "Ignored" })
    })
    const wait = Effect.sleep(circuit.policy.probeTimeoutMillis / 2)
    this.ground.runtime.background(Effect.andThen(wait, giveBack))
  }

  spare(circuit: LiveCircuit): Granted | undefined {
    const { share } = circuit
    const place = share?.spare
    if (share === undefined || place === undefined) return undefined
    share.spare = undefined
    if (place.era === circuit.control.value.era) return place
    this.settled(circuit, place.lease, { _tag: "Ignored" })
    return undefined
  }

  /** There is no fleet to ask: what was the fleet's is this process's own from here on. */
  private alone(share: Share): Place {
    share.adopted = -1
    return { _tag: "Alone" }
  }

  private ask(circuit: LiveCircuit, share: Share, ticket: Ticket): Effect.Effect<void> {
    const { ground } = this
    const { policy } = circuit
    const token = tokens.from + Math.floor(ground.random() * tokens.count)
    const asked = ground.now()
    const taken = this.records.commit(
      circuit,
      (current, now) =>
        (current._tag === "Open" || current._tag === "HalfOpen") && Circuit.admission(current, now, policy) === "Probe"
          ? Fleet.lease(current, token, now, policy)
          : current,
      { why: "CooldownOver", detail: undefined, actor: undefined }
    )
    return Effect.map(taken, (committed) => {
      if (committed === "Failed") {
        ticket.place = this.alone(share)
        this.lost.set(token, { circuit, until: ground.now() + policy.probeTimeoutMillis })
      }
      if (committed === "Overtaken") this.settled(circuit, token, { _tag: "Ignored" })
      if (committed !== "Made") return
      this.held.set(token, { circuit, verdict: { _tag: "Ignored" } })
      const control = circuit.control.value
      // Meanwhile another probe of this process may have found out.
      if (ticket.abandoned === "Gone" || control._tag !== "HalfOpen" || !share.isFleets(control)) {
        this.settled(circuit, token, { _tag: "Ignored" })
        return
      }
      // Its end is counted from when it was asked for: rather too early than too late.
      const until = asked + policy.probeTimeoutMillis
      ticket.place = { _tag: "Granted", lease: token, era: control.era, until }
      if (ticket.abandoned === "Late") this.keep(circuit, share, ticket.place)
    })
  }

  settled(circuit: LiveCircuit, lease: number, verdict: Circuit.Verdict): void {
    this.ground.runtime.background(this.settle(circuit, lease, verdict))
  }

  private settle(circuit: LiveCircuit, lease: number, verdict: Circuit.Verdict): Effect.Effect<Committed> {
    const held = this.held.get(lease)
    if (held !== undefined) held.verdict = verdict
    const failed = verdict._tag === "Failure" ? verdict.cause : undefined
    const committed = this.records.commit(
      circuit,
      (current, now) =>
        current._tag === "HalfOpen" ? Circuit.settleProbe(current, lease, verdict, now, circuit.policy) : current,
      { why: failed?.why ?? "Recovered", detail: failed?.detail, actor: undefined },
      { expected: true }
    )
    return Effect.tap(committed, () => Effect.sync(() => this.held.delete(lease)))
  }

  /** Gives back the places that the store gave and could not say. */
  private get giveBack(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = this.ground.now()
      return Effect.forEach(
        [...this.lost],
        ([lease, { circuit, until }]) => {
          if (now >= until) this.lost.delete(lease)
          const known = circuit.share?.known?.circuit
          if (known?._tag !== "HalfOpen" || !known.leases.some(({ id }) => id === lease)) return Effect.void
          return Effect.map(this.settle(circuit, lease, { _tag: "Ignored" }), (committed) => {
            if (committed !== "Failed") this.lost.delete(lease)
          })
        },
        { discard: true }
      )
    })
  }

  // ---- People -------------------------------------------------------------------------------------------------------

  speaksFor(circuit: LiveCircuit): string | undefined {
    if (!this.ground.isShareable(circuit)) return undefined
    this.ground.shareOf(circuit)
    return this.process
  }

  steer(circuit: LiveCircuit, deed: Unheard): Effect.Effect<void> {
    if (!this.ground.isShareable(circuit)) return Effect.void
    return Effect.suspend(() => {
      const share = this.ground.shareOf(circuit)
      const before = share.unheard
      // Noted before it is told: who does it may not wait for the answer. What was not told yet comes first.
      share.unheard =
        before === undefined ? deed : { ...deed, next: (current, now) => deed.next(before.next(current, now), now) }
      return this.tell(circuit, share, share.unheard, before === undefined)
    })
  }

  /** Tells the others what a person did here. */
  private tell(circuit: LiveCircuit, share: Share, deed: Unheard, first: boolean): Effect.Effect<void> {
    this.ballots.closed(circuit)
    return Effect.flatMap(this.records.commit(circuit, deed.next, deed, { expected: true }), (committed) => {
      if (committed !== "Failed" && committed !== "Lost") {
        if (share.unheard === deed) share.unheard = undefined
        return committed === "Same" ? this.records.retake(circuit, share) : Effect.void
      }
      // It is this process's own until then.
      share.adopted = -1
      const { trouble } = this.ground.link
      return first
        ? quietly(Effect.logWarning(`${deed.why} holds in this process only until the store can be told (${trouble})`))
        : Effect.void
    })
  }

  // ---- Repair -------------------------------------------------------------------------------------------------------

  /** Hears what is announced and asks for what was not, as long as its scope is open; then it takes back what it said. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    const { ground } = this
    const listen = Stream.runForEach(ground.store.changes, (change) => this.hear(change))
    const tick = Math.min(downMillis, ground.syncMillis)
    let synced = ground.now()
    const repair = Effect.suspend(() => {
      const now = ground.now()
      for (const circuit of ground.shared) if (circuit.share !== undefined) this.ballots.renew(circuit, circuit.share)
      if (ground.link.misses === 0 && now - synced < ground.syncMillis - tick / 2) return Effect.void
      synced = now
      return this.sync
    })
    const later = Effect.suspend(() => Effect.sleep(tick * (0.9 + 0.2 * ground.random())))
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() => Effect.timeoutOption(this.leave, endMillis))
      // A stream that ends is as deaf as one that fails.
      yield* Effect.forkScoped(Effect.repeat(Effect.ignoreCause(listen), listenAgain))
      const first = yield* Effect.forkScoped(this.sync)
      yield* Effect.timeoutOption(Fiber.await(first), startMillis)
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(later, repair)))
    })
  }

  private hear(change: Change): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { ground } = this
      const which = fromCircuitId(change.circuit)
      if (which === undefined) return Effect.void
      const circuit = ground.registry.peek(which.name, which.key)
      if (change._tag === "Inquiry") return circuit === undefined ? Effect.void : this.answer(circuit, change)
      const now = ground.now()
      const read = fromBody(change.body, now)
      // What this process writes it learns from the answer, which is on its way.
      if (circuit?.share !== undefined && circuit.share.committing > 0 && read?.about.process === ground.voice)
        return Effect.void
      const matters = read !== undefined && Fleet.isListed(read.circuit, now)
      const found = circuit ?? (matters ? ground.registry.own(which.name, which.key, ground.policies) : undefined)
      if (found === undefined || (!matters && found.share === undefined)) return Effect.void
      return this.records.learn(found, { ...change, age: 0 }, Number.NEGATIVE_INFINITY)
    })
  }

  private answer(circuit: LiveCircuit, change: Change & { readonly _tag: "Inquiry" }): Effect.Effect<void> {
    const { ground, records } = this
    if (!ground.isShareable(circuit) || !circuit.group.declared) return Effect.void
    if (change.box !== ground.fingerprint(circuit.policy)) {
      return records.report(circuit, ground.shareOf(circuit), "another policy")
    }
    const known = circuit.share?.known?.era ?? 0
    const asked = Effect.sync(() => this.ballots.asked(circuit))
    // What is announced meanwhile must not wait for this.
    return known >= change.era
      ? asked
      : Effect.sync(() => ground.runtime.background(Effect.andThen(this.load(circuit), asked)))
  }

  private load(circuit: LiveCircuit): Effect.Effect<void> {
    const { ground, records } = this
    return Effect.suspend(() => {
      const at = ground.now()
      return Effect.flatMap(
        ground.link.run(() => ground.store.load(ground.idOf(circuit))),
        (reply) => (reply === undefined ? Effect.void : records.learn(circuit, reply.answer, at))
      )
    })
  }

  /** Asks for all that is not plainly Closed, which also says that this process lives. */
  private get sync(): Effect.Effect<void> {
    const { ground } = this
    return Effect.suspend(() => {
      const at = ground.now()
      return Effect.flatMap(
        ground.link.run(() => ground.store.list(ground.voice, ground.liveMillis)),
        (reply) => {
          if (reply === undefined) return ground.link.down ? this.reportDown : Effect.void
          ground.countLive(reply.answer.live)
          return Effect.andThen(this.takeOn(reply.answer.records, at), Effect.andThen(this.giveBack, this.tidy(at)))
        }
      )
    })
  }

  private takeOn(listed: ReadonlyArray<Listed>, at: number): Effect.Effect<void> {
    const { registry, policies } = this.ground
    const known = Effect.forEach(listed, (one) => {
      const which = fromCircuitId(one.circuit)
      const circuit = which === undefined ? undefined : registry.own(which.name, which.key, policies)
      return circuit === undefined
        ? Effect.succeed(undefined)
        : Effect.as(this.records.learn(circuit, one, at), circuit)
    })
    return Effect.flatMap(known, (listed) => {
      const there = new Set(listed)
      const gone = [...this.ground.shared].filter(
        (circuit) =>
          !there.has(circuit) && circuit.share?.known !== undefined && circuit.share.known.circuit._tag !== "Closed"
      )
      return Effect.forEach(gone, (circuit) => this.load(circuit), { discard: true })
    })
  }

  /** What is left to say is said, and what is well again is forgotten. */
  private tidy(at: number): Effect.Effect<void> {
    const { ground } = this
    return Effect.forEach(
      [...ground.shared],
      (circuit) => {
        const { share } = circuit
        if (share === undefined) return Effect.void
        if (share.unheard !== undefined) return this.tell(circuit, share, share.unheard, false)
        if (this.isBehind(circuit, share, at)) return this.closeFleets(circuit)
        if (isLostOverride(share)) return this.restore(circuit, share)
        return Effect.sync(() => {
          if (this.isOver(circuit, share, at)) ground.forget(circuit)
        })
      },
      { discard: true }
    )
  }

  /** Whether there is nothing left that the fleet and this circuit have with one another. */
  private isOver(circuit: LiveCircuit, share: Share, now: number): boolean {
    return (
      circuit.control.value._tag === "Closed" &&
      (share.known === undefined || share.known.circuit._tag === "Closed") &&
      !share.asking &&
      share.committing === 0 &&
      this.ballots.isSilent(share, now) &&
      circuit.seen().isQuiet(now)
    )
  }

  /**
   * Whether the fleet's opening is over and nobody has closed it, though this process has found out, while it was on its
   * own, that it may be.
   */
  private isBehind(circuit: LiveCircuit, { known }: Share, now: number): boolean {
    return (
      circuit.control.value._tag === "Closed" &&
      known !== undefined &&
      !this.records.isForeign(circuit, known) &&
      Circuit.admission(Circuit.expire(known.circuit, now), now, circuit.policy) === "Probe"
    )
  }

  /** What a person forced is not over because a store forgot it. */
  private restore(circuit: LiveCircuit, { known }: Share): Effect.Effect<unknown> {
    const { actor, detail, why = "Isolated" } = known?.about ?? {}
    return this.records.commit(circuit, (current) => ({ ...current }), { why, detail, actor }, { expected: true })
  }

  private get reportDown(): Effect.Effect<void> {
    if (this.reported) return Effect.void
    this.reported = true
    return quietly(Effect.logWarning(`The store of the circuits does not answer: ${this.ground.link.trouble}`))
  }

  /** The store answers again: what was seen meanwhile stays untold. */
  returned(): void {
    this.reported = false
    for (const circuit of this.ground.registry.all()) this.ballots.keepToItself(circuit)
  }

  forgotten(circuit: LiveCircuit): void {
    this.ground.forget(circuit)
  }

  private get leave(): Effect.Effect<unknown> {
    const { ground } = this
    return Effect.suspend(() => {
      if (ground.link.down) return Effect.void
      const places = [...this.held].map(([lease, { circuit, verdict }]) => this.settle(circuit, lease, verdict))
      const ballots = [...ground.shared].map((circuit) => this.ballots.takeBack(circuit))
      const goodbye = ground.link.run(() => ground.store.list(ground.voice, 0))
      return Effect.all([...places, ...ballots, goodbye], { concurrency: 32, discard: true })
    })
  }
}

const denied: Place = { _tag: "Denied" }

/** The store has lost a record that only people may change. */
const isLostOverride = ({ known }: Share): boolean =>
  known !== undefined && known.era === 0 && Circuit.isForced(known.circuit)

/** Makes the circuits of a process part of a fleet, as long as the scope is open. */
export const share = (
  registry: Registry,
  store: SharedStore,
  of: Pick<Ground, "voice" | "policies" | "random" | "syncMillis">
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const link = new Link(registry.runtime.time, () => replica.returned())
    const replica = new Replica(new Ground({ ...of, registry, store, link }))
    registry.runtime.sharing = replica
    return replica.run
  })
