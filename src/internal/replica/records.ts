import * as Effect from "effect/Effect"
import * as Circuit from "../../Circuit.ts"
import type { Stored } from "../../SharedStore.ts"
import { type About, fromBody } from "../codec.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import { move, type Next } from "../engine/move.ts"
import type { Known, Share } from "../engine/share.ts"
import { printable } from "../printable.ts"
import { isByPeople, policyAfter, toSwap, wallOf } from "../record.ts"
import type { Ground } from "./ground.ts"

/** So often a move is made anew on what another process wrote meanwhile. */
const attempts = 5

/** Processes do not all ask for the first probe at once: each waits up to a tenth of the opening more, at most this long. */
const maxJitterMillis = 1_000

/**
 * How a move of the fleet's ended: made; made, and another came after it already; nothing to do; another came first; or the
 * store did not answer.
 */
export type Committed = "Made" | "Overtaken" | "Same" | "Lost" | "Failed"

/** The fleet's records, as they come in and as this process writes them. */
export class Records {
  private readonly ground: Ground

  constructor(ground: Ground) {
    this.ground = ground
  }

  /**
   * Takes on what the store says of a circuit. An answer holds whatever its era, unless something was learnt since it was
   * asked for; what is only announced holds if it is newer.
   */
  learn(circuit: LiveCircuit, stored: Stored | undefined, askedAt: number): Effect.Effect<void> {
    const { ground } = this
    if (!ground.isShareable(circuit)) return Effect.void
    const known = circuit.share?.known
    if (known?.era === stored?.era || (known !== undefined && known.at >= askedAt && isOlder(stored, known))) {
      return Effect.void
    }
    const share = ground.shareOf(circuit)
    if (stored === undefined) {
      // The store has lost or forgotten it. That is no sign of health: what is not over lasts to its own end.
      const over = known === undefined || Circuit.expire(known.circuit, ground.now())._tag === "Closed"
      share.known = over ? undefined : { ...known, era: 0 }
      share.said = undefined
      return Effect.void
    }
    const now = ground.now()
    const read = fromBody(stored.body, now - stored.age)
    if (read === undefined) {
      // What the fleet decides from here on this process cannot follow: what it knows is its own.
      share.known = undefined
      share.adopted = -1
      return this.report(circuit, "a record that this version cannot read")
    }
    const { about, circuit: state } = read
    share.known = { era: stored.era, circuit: state, about, at: now, since: wallOf(state, about, now - stored.age) }
    return this.adopt(circuit, share, share.known, false)
  }

  /** Makes the fleet's state this circuit's own. `expected` where this process has already made the move. */
  private adopt(circuit: LiveCircuit, share: Share, known: Known, expected: boolean): Effect.Effect<void> {
    const { about } = known
    // Where this process is ahead, the move that it has yet to tell decides what comes of this.
    if (about === undefined || share.ahead > 0 || (share.unheard !== undefined && !expected)) return Effect.void
    if (this.isForeign(circuit, known)) {
      return Effect.andThen(
        this.lift(circuit, share, about),
        this.report(circuit, "another trip, slowCall, fleet or mode in the policy")
      )
    }
    // Who has opened by himself since then knows better.
    if (isOutlived(circuit.control.value, share, known)) return Effect.void
    const byAnother = this.isOfAnother(circuit, known)
    share.ownBeneath = byAnother
    share.said = undefined
    share.opened = undefined
    share.fruitless = 0
    const jitter = this.jitter(known.circuit)
    const next: Next = (from, now) => {
      const state = Circuit.expire(known.circuit, now)
      // Beneath what people forced is what this process's own policy says.
      const forced = byAnother && Circuit.isForced(state)
      const there = forced ? Circuit.force(from, state._tag, state.since, state) : later(state, from, jitter, about.why)
      return merge(from, there, share, about.why, expected)
    }
    const { actor, deed, detail, process, why } = about
    return Effect.asVoid(
      move(this.ground.runtime, circuit, why, next, {
        detail,
        actor,
        process,
        deed,
        at: deed === undefined ? undefined : about.at,
        since: known.since,
        found: this.ground.starting
      })
    )
  }

  /** What the fleet says counts again, after it was not listened to. `expected` where this process has said the same. */
  retake(circuit: LiveCircuit, share: Share, expected: boolean): Effect.Effect<void> {
    return share.known === undefined ? Effect.void : this.adopt(circuit, share, share.known, expected)
  }

  private jitter(state: Circuit.Circuit): number {
    if (state._tag !== "Open" || this.ground.live <= 1) return 0
    return this.ground.random() * Math.min(maxJitterMillis, (state.until - state.since) / 10)
  }

  /** The fleet's state, as far as it is one for this process. */
  current(circuit: LiveCircuit, now: number): Circuit.Circuit {
    const known = circuit.share?.known
    return known === undefined || this.isForeign(circuit, known) ? Circuit.initial : Circuit.expire(known.circuit, now)
  }

  /** What a process under another policy decided is not for this one; what people force is for all. */
  isForeign(circuit: LiveCircuit, known: Known): boolean {
    return !Circuit.isForced(known.circuit) && this.isOfAnother(circuit, known)
  }

  private isOfAnother(circuit: LiveCircuit, { about }: Known): boolean {
    return (
      about?.policy !== undefined && circuit.group.declared && about.policy !== this.ground.fingerprint(circuit.policy)
    )
  }

  /** From now on it is this process's own: all that another has said of it goes, or what was forced. */
  disown(circuit: LiveCircuit, why: "Reset" | "Released"): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      const { share } = circuit
      const about = share?.known?.about
      const byAnother = share?.isFleets(circuit.control.value) === true && about?.process !== this.ground.voice
      this.ground.forget(circuit)
      return byAnother
        ? move(this.ground.runtime, circuit, why, why === "Reset" ? Circuit.reset : Circuit.release, {
            detail: "its policy keeps it to each process"
          })
        : Effect.void
    })
  }

  /** An override that was for all is lifted for all; beneath it is what is this process's own. */
  private lift(circuit: LiveCircuit, share: Share, about: About): Effect.Effect<unknown> {
    const lift: Next = (from) => (share.isFleets(from) ? Circuit.release(from) : from)
    const { actor, deed, detail, process, why } = about
    return Effect.tap(move(this.ground.runtime, circuit, why, lift, { detail, actor, process, deed }), (moved) =>
      Effect.sync(() => {
        if (moved !== undefined) share.adopted = -1
      })
    )
  }

  /**
   * Moves the fleet's circuit to what `next` makes of its state. Where another process came first it is asked again, on what
   * that one wrote, unless the move is `fenced`: meant for this era only. `expected` where this process moved already.
   */
  commit(
    circuit: LiveCircuit,
    next: Next,
    about: Omit<About, "process" | "policy" | "at">,
    how: { readonly fenced?: number; readonly expected?: boolean } = {}
  ): Effect.Effect<Committed> {
    const { fenced, expected = false } = how
    return Effect.suspend(() => {
      const share = this.ground.shareOf(circuit)
      const before = share.known
      if (expected) share.ahead++
      const turn = share.turn.withPermit(this.attempt(circuit, share, next, about, fenced, attempts))
      if (!expected) return Effect.flatMap(turn, (made) => this.settle(circuit, share, made, before, false))
      return Effect.flatMap(
        Effect.ensuring(
          turn,
          Effect.sync(() => {
            share.ahead--
          })
        ),
        (made) => this.settle(circuit, share, made, before, true)
      )
    })
  }

  /** What a move that was made, or not, leaves this process with. */
  private settle(
    circuit: LiveCircuit,
    share: Share,
    committed: Committed,
    before: Known | undefined,
    expected: boolean
  ): Effect.Effect<Committed> {
    const { known } = share
    if (known === undefined) return Effect.succeed(committed)
    const made = committed === "Made"
    const control = circuit.control.value
    // Something may have been learnt while it was on its way, which was left for the end of it.
    const behind = share.isFleets(control) && control._tag !== known.circuit._tag
    const takes = made || (expected ? committed !== "Failed" || known !== before : behind)
    return Effect.as(takes ? this.adopt(circuit, share, known, made && expected) : Effect.void, committed)
  }

  private attempt(
    circuit: LiveCircuit,
    share: Share,
    next: Next,
    about: Omit<About, "process" | "policy" | "at">,
    fenced: number | undefined,
    left: number
  ): Effect.Effect<Committed> {
    const { ground } = this
    return Effect.suspend(() => {
      const base = share.known
      if (fenced !== undefined && (base?.era ?? 0) !== fenced) return Effect.succeed<Committed>("Lost")
      if (ground.link.down) return Effect.succeed<Committed>("Failed")
      const now = ground.now()
      const current = isByPeople(about.why)
        ? Circuit.expire(base?.circuit ?? Circuit.initial, now)
        : this.current(circuit, now)
      const state = next(current, now)
      if (state === current) return Effect.succeed<Committed>("Same")
      // A place that was taken or given back is no recovery yet.
      const why = about.why === "Recovered" && state._tag === "HalfOpen" ? "CooldownOver" : about.why
      const written: About = {
        ...about,
        why,
        policy: this.policyOf(circuit, base, about.why),
        process: ground.voice,
        at: ground.runtime.time.wall()
      }
      const swap = toSwap(ground.idOf(circuit), base?.era ?? 0, state, now, written)
      share.committing++
      const swapped = Effect.ensuring(
        ground.link.run(() => ground.store.swap(swap)),
        Effect.sync(() => {
          share.committing--
        })
      )
      return Effect.flatMap(swapped, (reply): Effect.Effect<Committed> => {
        if (reply === undefined) return Effect.succeed("Failed")
        const { record, swapped } = reply.answer
        if (swapped && record !== undefined) {
          // Its announcement, or what another built on it, may have come before the answer.
          if (share.known !== base && share.known !== undefined && share.known.era > record.era) {
            return Effect.succeed("Overtaken")
          }
          share.replaced = base?.circuit
          share.known = {
            era: record.era,
            circuit: state,
            about: written,
            at: ground.now(),
            since: wallOf(state, written, now)
          }
          return Effect.succeed("Made")
        }
        const again =
          fenced !== undefined || left <= 1
            ? Effect.succeed<Committed>("Lost")
            : this.attempt(circuit, share, next, about, fenced, left - 1)
        return Effect.andThen(this.learn(circuit, record, now), again)
      })
    })
  }

  private policyOf(circuit: LiveCircuit, base: Known | undefined, why: Circuit.Why): string | undefined {
    if (why === "Tripped") return this.ground.fingerprint(circuit.policy)
    if (isByPeople(why)) return policyAfter(why, base?.about)
    return base === undefined || this.isForeign(circuit, base) ? undefined : base.about?.policy
  }

  /** Says once for a circuit that the fleet has something that this process does not share. */
  report(circuit: LiveCircuit, what: string): Effect.Effect<void> {
    if (!circuit.reportsFirst("fleet")) return Effect.void
    const key = circuit.key === undefined ? "" : ` ["${printable(circuit.key)}"]`
    const which = `"${printable(circuit.group.name)}"${key}`
    return quietly(
      Effect.logWarning(`Other processes have ${what} for the circuit ${which}: they and this one decide apart`)
    )
  }
}

/** This process waits a little longer than the fleet, and never less than it knew that it would. */
const later = (state: Circuit.Circuit, from: Circuit.Circuit, jitter: number, why: Circuit.Why): Circuit.Circuit => {
  if (state._tag !== "Open") return state
  const until = state.until + jitter
  return { ...state, until: from._tag === "Open" && !isByPeople(why) ? Math.max(from.until, until) : until }
}

/** The fleet's state as this process's own: in a new era, unless it is the one that it is in already. */
const merge = (
  from: Circuit.Circuit,
  there: Circuit.Circuit,
  share: Share,
  why: Circuit.Why,
  expected: boolean
): Circuit.Circuit => {
  const fleets = share.isFleets(from)
  // Who probes alone, as the store did not answer, finds out by himself.
  if (from._tag === "HalfOpen" && there._tag === "HalfOpen" && !fleets) return from
  const same =
    from._tag === there._tag &&
    (there._tag === "Closed" ? expected || why !== "Reset" : fleets && (expected || there._tag === "HalfOpen"))
  return { ...there, era: same ? from.era : from.era + 1 }
}

/** Whether the fleet's close is older than what this process opened by itself for. */
const isOutlived = (own: Circuit.Circuit, share: Share, { about, circuit }: Known): boolean =>
  circuit._tag === "Closed" &&
  own._tag === "Open" &&
  !share.isFleets(own) &&
  own.since > circuit.since &&
  about !== undefined &&
  !isByPeople(about.why)

const isOlder = (stored: Stored | undefined, known: Known): boolean => stored === undefined || stored.era < known.era
