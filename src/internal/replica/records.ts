import * as Effect from "effect/Effect"
import * as Circuit from "../../Circuit.ts"
import * as Fleet from "../../Fleet.ts"
import type { Stored } from "../../SharedStore.ts"
import { type About, fromBody, toBody } from "../codec.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { quietly } from "../engine/logEvent.ts"
import { move, type Next } from "../engine/move.ts"
import type { Known, Share } from "../engine/share.ts"
import { printable } from "../printable.ts"
import type { Ground } from "./ground.ts"

/** So often a move is made anew on what another process wrote meanwhile. */
const attempts = 5

/** Processes do not all ask for the first probe at once: each waits up to a tenth of the opening more, at most this long. */
const maxJitterMillis = 1_000

/** How a move of the fleet's ended: made; nothing to do; another came first; or the store did not answer. */
export type Committed = "Made" | "Same" | "Lost" | "Failed"

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
    const known = circuit.share?.known
    if (known?.era === stored?.era || (known !== undefined && known.at >= askedAt && isOlder(stored, known))) {
      return Effect.void
    }
    const share = ground.shareOf(circuit)
    if (stored === undefined) {
      // The store has lost or forgotten it. That is no sign of health: what is not over lasts to its own end.
      share.known = known === undefined || known.circuit._tag === "Closed" ? undefined : { ...known, era: 0 }
      share.said = undefined
      return Effect.void
    }
    const now = ground.now()
    const read = fromBody(stored.body, now - stored.age)
    if (read === undefined) return this.report(circuit, share, "a record that this version cannot read")
    share.known = { era: stored.era, circuit: read.circuit, about: read.about, at: now }
    return this.adopt(circuit, share, share.known, false)
  }

  /** Makes the fleet's state this circuit's own. `expected` where this process has already made the move. */
  private adopt(circuit: LiveCircuit, share: Share, known: Known, expected: boolean): Effect.Effect<void> {
    const { about } = known
    if (about === undefined) return Effect.void
    if (this.isForeign(circuit, known)) return this.report(circuit, share, "another policy")
    share.said = undefined
    share.opened = undefined
    share.fruitless = 0
    const jitter = this.jitter(known.circuit)
    const next: Next = (from, now) => {
      const state = Circuit.expire(known.circuit, now)
      const there: Circuit.Circuit = state._tag === "Open" ? { ...state, until: state.until + jitter } : state
      const same =
        from._tag === there._tag &&
        (expected ||
          (there._tag === "Closed" && about.why !== "Reset") ||
          (there._tag === "HalfOpen" && share.isFleets(from)))
      return { ...there, era: same ? from.era : from.era + 1 }
    }
    const { actor, detail, process, why } = about
    return Effect.asVoid(move(this.ground.runtime, circuit, why, next, { detail, actor, process }))
  }

  private jitter(state: Circuit.Circuit): number {
    if (state._tag !== "Open" || this.ground.live <= 1) return 0
    return this.ground.random() * Math.min(maxJitterMillis, (state.until - state.since) / 10)
  }

  /** What a process under another policy decided is not for this one; what people force is for all. */
  private isForeign(circuit: LiveCircuit, { about, circuit: state }: Known): boolean {
    return (
      about?.policy !== undefined &&
      circuit.group.declared &&
      !Circuit.isForced(state) &&
      about.policy !== this.ground.fingerprint(circuit.policy)
    )
  }

  /**
   * Moves the fleet's circuit to what `next` makes of its state. Where another process came first it is asked again, on what
   * that one wrote, unless the move is `fenced`: meant for one era only. `expected` where this process moved already.
   */
  commit(
    circuit: LiveCircuit,
    next: Next,
    about: Omit<About, "process" | "policy">,
    how: { readonly fenced?: boolean; readonly expected?: boolean } = {}
  ): Effect.Effect<Committed> {
    const { ground } = this
    const attempt = (left: number): Effect.Effect<Committed> =>
      Effect.suspend(() => {
        const share = ground.shareOf(circuit)
        const base = share.known
        const now = ground.now()
        const current = Circuit.expire(base?.circuit ?? Circuit.initial, now)
        const state = next(current, now)
        if (state === current) return Effect.succeed("Same")
        const written: About = { ...about, policy: this.policyOf(circuit, base, about.why), process: ground.voice }
        const lifted = about.why === "Released" || about.why === "Reset"
        const swap = ground.store.swap({
          circuit: ground.idOf(circuit),
          expectedEra: base?.era ?? 0,
          body: toBody(state, now, written),
          ttl: Fleet.keptFor(state, now, lifted),
          listed: Fleet.isListed(state, now)
        })
        share.committing = true
        return Effect.flatMap(ground.link.run(swap), (reply) => {
          share.committing = false
          if (reply === undefined) return Effect.succeed("Failed")
          const { record, swapped } = reply.answer
          if (swapped && record !== undefined) {
            share.known = { era: record.era, circuit: state, about: written, at: ground.now() }
            return Effect.as(this.adopt(circuit, share, share.known, how.expected === true), "Made")
          }
          const again = how.fenced === true || left <= 1 ? Effect.succeed<Committed>("Lost") : attempt(left - 1)
          return Effect.andThen(this.learn(circuit, record, now), again)
        })
      })
    return attempt(attempts)
  }

  private policyOf(circuit: LiveCircuit, base: Known | undefined, why: Circuit.Why): string | undefined {
    return why === "Tripped" ? this.ground.fingerprint(circuit.policy) : base?.about?.policy
  }

  /** Says once for a circuit that the fleet has something that this process does not share. */
  report(circuit: LiveCircuit, share: Share, what: string): Effect.Effect<void> {
    if (share.warned) return Effect.void
    share.warned = true
    const key = circuit.key === undefined ? "" : ` ["${printable(circuit.key)}"]`
    const which = `"${printable(circuit.group.name)}"${key}`
    return quietly(
      Effect.logWarning(`Other processes have ${what} for the circuit ${which}: they and this one decide apart`)
    )
  }
}

const isOlder = (stored: Stored | undefined, known: Known): boolean => stored === undefined || stored.era < known.era
