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

/** How long a call waits at most for the lease of a probe. */
const leaseWaitMillis = 50

/** The range of the random tokens of leases: practically never equal, and above the numbers that a process counts by itself. */
const tokens = { from: 2 ** 32, count: 2 ** 52 }

interface LeaseRequest {
  grant: Grant
  /** Why the call does not wait any more: the answer came too late, or the call was interrupted. */
  abandoned: false | "Late" | "Gone"
}

/** A lease that a call of this process holds, until the store has received the verdict of its probe. */
interface Held {
  readonly circuit: LiveCircuit
  /** When the lease ends. Another process may then get a lease, even if this probe was not settled. */
  readonly until: number
  verdict: Circuit.Verdict
}

const denied: Grant = { _tag: "Denied" }

/** Requests, holds, settles and returns the leases of the fleet's probes. */
export class Leases {
  private readonly context: FleetContext
  private readonly records: Records
  /** The leases that calls of this process hold, by token. */
  private readonly held = new Map<number, Held>()
  /** Leases whose request was not answered, by token. The store may have granted them. */
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
      const request: LeaseRequest = { grant: denied, abandoned: false }
      const answered = Deferred.makeUnsafe<void>()
      const asked = Effect.andThen(this.ask(circuit, fleetState, request), Deferred.succeed(answered, undefined))
      context.runtime.background(
        Effect.ensuring(
          asked,
          Effect.sync(() => {
            fleetState.lease.asking = false
          })
        )
      )
      const wait = Effect.exit(
        restore(timeoutOrElse(Effect.asSome(Deferred.await(answered)), leaseWaitMillis, () => Effect.succeedNone))
      )
      return Effect.flatMap(wait, (exit) => {
        if (exit._tag === "Success") {
          if (exit.value._tag === "Some" || request.grant !== denied) return Effect.succeed(request.grant)
          request.abandoned = "Late"
          return Effect.succeed(denied)
        }
        request.abandoned = "Gone"
        if (request.grant._tag === "Granted") this.settled(circuit, request.grant.lease, { _tag: "Ignored" })
        return Effect.failCause(exit.cause)
      })
    })
  }

  /** Keeps a lease that came too late for its call, as a spare for the next call: a slow store would never grant one in time. */
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
    // The lease may have ended while the process was stalled.
    if (grant.epoch === circuit.control.value.epoch && this.context.now() < grant.until) return grant
    this.settled(circuit, grant.lease, { _tag: "Ignored" })
    return undefined
  }

  /** The store cannot be asked: this process decides alone from now on. */
  private alone(fleetState: FleetState): Grant {
    this.records.decideAlone(fleetState)
    return { _tag: "Alone" }
  }

  private ask(circuit: LiveCircuit, fleetState: FleetState, request: LeaseRequest): Effect.Effect<void> {
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
        request.grant = this.alone(fleetState)
        this.lost.set(token, { circuit, until: context.now() + policy.probeTimeoutMillis })
      }
      if (committed === "Overtaken") this.settled(circuit, token, { _tag: "Ignored" })
      if (committed !== "Made") return
      // The end is counted from the request: this process must never use the lease for longer than the store grants it.
      const until = asked + policy.probeTimeoutMillis
      this.held.set(token, { circuit, until, verdict: { _tag: "Ignored" } })
      const control = circuit.control.value
      // Another probe of this process may have decided the state in the meantime.
      if (request.abandoned === "Gone" || control._tag !== "HalfOpen" || !fleetState.isFleets(control)) {
        this.settled(circuit, token, { _tag: "Ignored" })
        return
      }
      request.grant = { _tag: "Granted", lease: token, epoch: control.epoch, until }
      if (request.abandoned === "Late") this.keep(circuit, fleetState, request.grant)
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

  /** Returns leases that the store granted in an answer that was lost. */
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

  /** Sends the verdicts that the store has not received, and returns the leases of probes that still run. */
  get leave(): Effect.Effect<unknown> {
    return Effect.suspend(() =>
      Effect.all(
        [...this.held].map(([lease, { circuit, verdict }]) => this.settle(circuit, lease, verdict)),
        { concurrency: 32, discard: true }
      )
    )
  }
}
