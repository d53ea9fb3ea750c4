import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Circuit from "../../Circuit.ts"
import * as Fleet from "../../Fleet.ts"
import type { Change, Listed } from "../../SharedStore.ts"
import { fromBody, fromCircuitId } from "../codec.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import type { Share } from "../engine/share.ts"
import { foreignText } from "../foreign.ts"
import { isUnconnected, storeAnnotation } from "../unconnected.ts"
import type { Ballots } from "./ballots.ts"
import type { Deeds } from "./deeds.ts"
import type { Ground } from "./ground.ts"
import type { Places } from "./places.ts"
import type { Records } from "./records.ts"

/** A store that does not answer is asked again after this long, or sooner if it is asked more often anyway. */
const downMillis = 1_000

/** Who starts waits this long at most to hear what is open. */
const startMillis = 200

/** Who ends waits this long at most to say so. */
const endMillis = 500

/** The announcements of a store that lost them are asked for again after this long. */
const listenAgain = Schedule.spaced("1 second")

/** Hears what is announced, asks for what was not, and makes good what got lost. */
export class Repair {
  private readonly ground: Ground
  private readonly records: Records
  private readonly ballots: Ballots
  private readonly places: Places
  private readonly deeds: Deeds
  private reported = false
  /** Whether the store reported by itself that it is not connected. */
  private away = false

  constructor(ground: Ground, records: Records, ballots: Ballots, places: Places, deeds: Deeds) {
    this.ground = ground
    this.records = records
    this.ballots = ballots
    this.places = places
    this.deeds = deeds
  }

  /** As long as its scope is open; then this process takes back what it said. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    const { ground } = this
    const listen = Effect.suspend(() => Stream.runForEach(ground.store.changes, (change) => this.hear(change)))
    const tick = Math.min(downMillis, ground.syncMillis)
    let synced = ground.now()
    const repair = Effect.suspend(() => {
      const now = ground.now()
      for (const circuit of ground.shared) if (circuit.share !== undefined) this.ballots.renew(circuit, circuit.share)
      if (ground.link.misses === 0 && now - synced < ground.syncMillis - tick / 2) return Effect.void
      synced = now
      // Whatever goes wrong in it must not end it.
      return Effect.catchCause(this.sync, (cause) =>
        quietly(Effect.logError(`Circuits could not be compared with those of other processes: ${foreignText(cause)}`))
      )
    })
    const later = Effect.suspend(() => Effect.sleep(tick * (0.9 + 0.2 * ground.random())))
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() => Effect.timeoutOption(this.leave, endMillis))
      // A stream that ends is as deaf as one that fails.
      yield* Effect.forkScoped(Effect.repeat(Effect.ignoreCause(listen), listenAgain))
      const started = Effect.sync(() => {
        ground.starting = false
      })
      const first = yield* Effect.forkScoped(Effect.ensuring(this.sync, started))
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
      return records.report(circuit, "another trip, slowCall, fleet or mode in the policy")
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
          return Effect.andThen(
            this.takeOn(reply.answer.records, at),
            Effect.andThen(this.places.giveBack, this.tidy(at))
          )
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
          !there.has(circuit) &&
          circuit.share?.known !== undefined &&
          circuit.share.known.era > 0 &&
          circuit.share.known.circuit._tag !== "Closed"
      )
      return Effect.forEach(gone, (circuit) => this.load(circuit), { concurrency: 32, discard: true })
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
        // Since a reload it is each process's own. Of what was forced nobody would tell it the end.
        if (!ground.isShareable(circuit)) return this.records.disown(circuit, "Released")
        if (share.unheard !== undefined) {
          // What is on its way is not said a second time: others may have undone it before that. Who is down hears nothing.
          return share.ahead > 0 || ground.link.down
            ? Effect.void
            : this.deeds.tell(circuit, share, share.unheard, false)
        }
        if (this.isBehind(circuit, share, at)) return this.deeds.close(circuit)
        if (isLostOverride(share, at)) return this.restore(circuit, share)
        return Effect.sync(() => {
          if (this.isForgotten(circuit, share, at)) ground.registry.drop(circuit)
          else if (this.isOver(circuit, share, at)) ground.forget(circuit)
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

  /** Whether it is an opening of others that is over, that the store has forgotten, and that nobody here ever called. */
  private isForgotten(circuit: LiveCircuit, { known }: Share, now: number): boolean {
    return known?.era === 0 && known.circuit._tag === "Open" && now >= known.circuit.until && circuit.calls === 0
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
    return this.records.commit(
      circuit,
      (current) => ({ ...current }),
      { why, detail, actor },
      { expected: true, fenced: 0 }
    )
  }

  private get reportDown(): Effect.Effect<void> {
    if (this.reported) return Effect.void
    // A store that is not connected logs its own warning, with the reason.
    if (isUnconnected(this.ground.store)) {
      this.away = true
      return Effect.void
    }
    this.reported = true
    const line = `The store of the circuits does not answer: ${this.ground.link.trouble}`
    return Effect.annotateLogs(quietly(Effect.logWarning(line)), storeAnnotation, "circuits")
  }

  /** The store answers again: what was seen meanwhile stays untold. */
  returned(): void {
    if (this.reported || this.away) {
      this.reported = false
      this.away = false
      this.ground.runtime.background(quietly(Effect.logInfo("The store of the circuits answers again")))
    }
    for (const circuit of this.ground.registry.all()) this.ballots.keepToItself(circuit)
  }

  private get leave(): Effect.Effect<unknown> {
    const { ground } = this
    return Effect.suspend(() => {
      ground.leaving = true
      if (ground.link.down) return Effect.void
      const ballots = [...ground.shared].map((circuit) => this.ballots.takeBack(circuit))
      const goodbye = ground.link.run(() => ground.store.list(ground.voice, 0))
      return Effect.all([this.places.leave, ...ballots, goodbye], { concurrency: 32, discard: true })
    })
  }
}

/** The store has lost a record that only people may change. */
const isLostOverride = ({ known }: Share, now: number): boolean =>
  known !== undefined && known.era === 0 && Circuit.isForced(Circuit.expire(known.circuit, now))
