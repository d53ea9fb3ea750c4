import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type { Restore } from "../engine/classify.ts"
import type { FleetState, Granted } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Grant } from "../engine/peers.ts"
import { timeoutOrElse } from "../engine/timeout.ts"
import type { FleetContext } from "./context.ts"
import type { Committed, Records } from "./records.ts"

/** A call that asks to be a probe waits this long at most. */
const placeMillis = 50

/** Tokens of leases: too many to meet, and above all that a process gives on its own. */
const tokens = { from: 2 ** 32, count: 2 ** 52 }

/** One place that was asked for. */
interface Ticket {
  grant: Grant
  /** Nobody waits for it any more: it came too late, or who waited is gone. */
  abandoned: false | "Late" | "Gone"
}

/** A place for a probe, and what the probe found, as long as the store has not heard of that. */
interface Held {
  readonly circuit: LiveCircuit
  /** From then on it is another's, whether its probe was heard of or not. */
  readonly until: number
  verdict: Circuit.Verdict
}

const denied: Grant = { _tag: "Denied" }

/** The places of the fleet's probes: asked for, held, settled and given back. */
export class Leases {
  private readonly context: FleetContext
  private readonly records: Records
  /** Those that calls of this process hold. */
  private readonly held = new Map<number, Held>()
  /** Those that were asked for and not heard of: a store may have given them all the same. */
  private readonly lost = new Map<number, { readonly circuit: LiveCircuit; readonly until: number }>()

  constructor(context: FleetContext, records: Records) {
    this.context = context
    this.records = records
  }

  grant(circuit: LiveCircuit, restore: Restore): Effect.Effect<Grant> {
    return Effect.suspend(() => {
      const { context } = this
      const fleetState = context.fleetStateOf(circuit)
      if (fleetState.lease.asking) return Effect.succeed(denied)
      const { known } = fleetState.record
      if (
        context.client.down ||
        known === undefined ||
        !context.isShareable(circuit) ||
        this.records.isForeign(circuit, known)
      ) {
        return Effect.succeed(this.alone(fleetState))
      }
      fleetState.lease.asking = true
      const ticket: Ticket = { grant: denied, abandoned: false }
      const answered = Deferred.makeUnsafe<void>()
      const asked = Effect.andThen(this.ask(circuit, fleetState, ticket), Deferred.succeed(answered, undefined))
      context.runtime.background(
        Effect.ensuring(
          asked,
          Effect.sync(() => {
            fleetState.lease.asking = false
          })
        )
      )
      const wait = Effect.exit(
        restore(timeoutOrElse(Effect.asSome(Deferred.await(answered)), placeMillis, () => Effect.succeedNone))
      )
      return Effect.flatMap(wait, (exit) => {
        if (exit._tag === "Success") {
          if (exit.value._tag === "Some" || ticket.grant !== denied) return Effect.succeed(ticket.grant)
          ticket.abandoned = "Late"
          return Effect.succeed(denied)
        }
        ticket.abandoned = "Gone"
        if (ticket.grant._tag === "Granted") this.settled(circuit, ticket.grant.lease, { _tag: "Ignored" })
        return Effect.failCause(exit.cause)
      })
    })
  }

  /** A place that came too late for who asked for it is kept for the next: a slow store would never give one else. */
  private keep(circuit: LiveCircuit, fleetState: FleetState, grant: Granted): void {
    fleetState.lease.spare = grant
    const giveBack = Effect.sync(() => {
      if (fleetState.lease.spare !== grant) return
      fleetState.lease.spare = undefined
      this.settled(circuit, grant.lease, { _tag: "Ignored" })
    })
    const wait = Effect.sleep(circuit.policy.probeTimeoutMillis / 2)
    this.context.runtime.background(Effect.andThen(wait, giveBack))
  }

  spare(circuit: LiveCircuit): Granted | undefined {
    const { fleetState } = circuit
    const grant = fleetState?.lease.spare
    if (fleetState === undefined || grant === undefined) return undefined
    fleetState.lease.spare = undefined
    // It may have ended while the process was stalled.
    if (grant.epoch === circuit.control.value.epoch && this.context.now() < grant.until) return grant
    this.settled(circuit, grant.lease, { _tag: "Ignored" })
    return undefined
  }

  /** There is no fleet to ask: what was the fleet's is this process's own from here on. */
  private alone(fleetState: FleetState): Grant {
    this.records.makeOwn(fleetState)
    return { _tag: "Alone" }
  }

  private ask(circuit: LiveCircuit, fleetState: FleetState, ticket: Ticket): Effect.Effect<void> {
    const { context } = this
    const { policy } = circuit
    const token = tokens.from + Math.floor(context.random() * tokens.count)
    const asked = context.now()
    const taken = this.records.commit(
      circuit,
      (current, now) =>
        (current._tag === "Open" || current._tag === "HalfOpen") && Circuit.admission(current, now, policy) === "Probe"
          ? Fleet.lease(current, token, now, policy)
          : current,
      { why: "CooldownOver", detail: undefined, actor: undefined },
      { pace: "First" }
    )
    return Effect.map(taken, (committed) => {
      if (committed === "Failed") {
        ticket.grant = this.alone(fleetState)
        this.lost.set(token, { circuit, until: context.now() + policy.probeTimeoutMillis })
      }
      if (committed === "Overtaken") this.settled(circuit, token, { _tag: "Ignored" })
      if (committed !== "Made") return
      // Its end is counted from when it was asked for: rather too early than too late.
      const until = asked + policy.probeTimeoutMillis
      this.held.set(token, { circuit, until, verdict: { _tag: "Ignored" } })
      const control = circuit.control.value
      // Meanwhile another probe of this process may have found out.
      if (ticket.abandoned === "Gone" || control._tag !== "HalfOpen" || !fleetState.isFleets(control)) {
        this.settled(circuit, token, { _tag: "Ignored" })
        return
      }
      ticket.grant = { _tag: "Granted", lease: token, epoch: control.epoch, until }
      if (ticket.abandoned === "Late") this.keep(circuit, fleetState, ticket.grant)
    })
  }

  settled(circuit: LiveCircuit, lease: number, verdict: Circuit.Verdict): void {
    this.context.runtime.background(this.settle(circuit, lease, verdict))
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
      { expected: true, pace: "First" }
    )
    return Effect.tap(committed, () => Effect.sync(() => this.held.delete(lease)))
  }

  /** Gives back those that the store gave and could not say. */
  get giveBack(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const now = this.context.now()
      for (const [lease, { until }] of this.held) if (now >= until) this.held.delete(lease)
      return Effect.forEach(
        [...this.lost],
        ([lease, { circuit, until }]) => {
          if (now >= until) this.lost.delete(lease)
          const known = circuit.fleetState?.record.known?.circuit
          if (known?._tag !== "HalfOpen" || !known.leases.some(({ id }) => id === lease)) return Effect.void
          return Effect.map(this.settle(circuit, lease, { _tag: "Ignored" }), (committed) => {
            if (committed !== "Failed") this.lost.delete(lease)
          })
        },
        { discard: true }
      )
    })
  }

  /** Tells what the probes found whose end was not told yet; those that have not ended are given back. */
  get leave(): Effect.Effect<unknown> {
    return Effect.suspend(() =>
      Effect.all(
        [...this.held].map(([lease, { circuit, verdict }]) => this.settle(circuit, lease, verdict)),
        { concurrency: 32, discard: true }
      )
    )
  }
}
