import * as Hash from "effect/Hash"
import * as Fleet from "../core/Fleet.ts"
import { FleetState, type KnownRecord } from "../engine/fleetState.ts"
import { type LiveCircuit, overflowKey } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import type { Runtime } from "../engine/runtime.ts"
import type { Policy } from "../policy/policy.ts"
import type { Policies } from "../policy/settings.ts"
import { circuitId } from "../store/codec.ts"
import { isLift } from "../store/record.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import type { StoreClient } from "./storeClient.ts"

/** Processes with another version of the protocol do not count each other's ballots. */
const protocolVersion = 2

/** How many lifted overrides are remembered, for circuits that are well again. */
const maxLifted = 1_000

/** What all parts of a replica use: this process among the others. */
export class FleetContext {
  readonly registry: Registry
  readonly runtime: Runtime
  readonly store: SharedStore
  readonly client: StoreClient
  /** The name of this process, and of no other, before or after it. */
  readonly voter: string
  readonly policies: Policies
  readonly random: () => number
  readonly syncMillis: number
  /** How long a process that starts waits for the store to be connected. */
  readonly connectMillis: number
  /** Until this process knows which circuits are open. */
  starting = true
  /** From when this process withdraws. */
  leaving = false
  /** The highest epoch that this process has read. */
  floor = 0
  /** The highest epoch that this process has read since the store last lost writes. */
  epoch = 0
  /** The circuits that share something with the fleet. */
  readonly shared = new Set<LiveCircuit>()
  /**
   * Lifted overrides of circuits that share nothing else with the fleet, by the store's names. A process that missed the lift must not
   * bring the override back.
   */
  private readonly lifted = new Map<string, KnownRecord>()
  private readonly fingerprints = new WeakMap<Policy, string>()
  /** How many processes live, and how many did when the store last knew all of them. */
  private alive = 0
  private remembered = 0
  /** Since when the store counts the processes that live, by this process's clock. */
  private countsSince = Number.NEGATIVE_INFINITY

  constructor(of: {
    readonly registry: Registry
    readonly store: SharedStore
    readonly client: StoreClient
    readonly voter: string
    readonly policies: Policies
    readonly random: () => number
    readonly syncMillis: number
    readonly connectMillis: number
  }) {
    this.registry = of.registry
    this.runtime = of.registry.runtime
    this.store = of.store
    this.client = of.client
    this.voter = of.voter
    this.policies = of.policies
    this.random = of.random
    this.syncMillis = of.syncMillis
    this.connectMillis = of.connectMillis
  }

  now(): number {
    return this.runtime.time.now()
  }

  /** For how long this process lives after each exchange. */
  get liveMillis(): number {
    return Fleet.livesFor(this.syncMillis)
  }

  /** The `ttl` of an exchange: 0 once this process is leaving. */
  get ttl(): number {
    return this.leaving ? 0 : this.liveMillis
  }

  /**
   * Takes over how many processes live. While a store is young it may not know all of them: then at least as many live as this
   * process remembers.
   */
  noteLive(live: number, liveMillisOfStore: number): void {
    const now = this.now()
    // A store whose clock has leapt forward does not know them either.
    const liveForMillis = Math.min(liveMillisOfStore, now - this.client.leaptAt)
    if (liveForMillis >= this.liveMillis) this.remembered = live
    this.alive = Math.max(live, this.remembered)
    this.countsSince = now - liveForMillis
  }

  /** How many processes live. */
  get live(): number {
    return Math.max(1, this.alive)
  }

  /** Whether the store may not yet know all processes that live. */
  get isStoreYoung(): boolean {
    return Fleet.isYoung(this.now() - this.countsSince, this.syncMillis)
  }

  noteEpoch(epoch: number): void {
    if (!Number.isSafeInteger(epoch)) return
    this.floor = Math.max(this.floor, epoch)
    this.epoch = Math.max(this.epoch, epoch)
  }

  isShareable(circuit: LiveCircuit): boolean {
    if (circuit.policy.fleet === false || circuit.key === overflowKey) return false
    const { longestCircuit } = this.store
    return longestCircuit === undefined || circuitId(circuit.group.name, circuit.key).length <= longestCircuit
  }

  fleetStateOf(circuit: LiveCircuit): FleetState {
    if (circuit.fleetState === undefined) {
      circuit.fleetState = new FleetState()
      this.shared.add(circuit)
      circuit.fleetState.record.known = this.liftedOf(circuit)
    }
    return circuit.fleetState
  }

  /** The circuit shares nothing with the fleet any more. That an override was lifted is remembered. */
  forget(circuit: LiveCircuit): void {
    const known = circuit.fleetState?.record.known
    if (known !== undefined && isLift(known.provenance.why) && this.now() < known.keptUntil) {
      const [first] = this.lifted.keys()
      if (this.lifted.size >= maxLifted && first !== undefined) this.lifted.delete(first)
      this.lifted.set(this.idOf(circuit), known)
    }
    circuit.fleetState = undefined
    this.shared.delete(circuit)
  }

  private liftedOf(circuit: LiveCircuit): KnownRecord | undefined {
    if (this.lifted.size === 0) return undefined
    const id = this.idOf(circuit)
    const known = this.lifted.get(id)
    this.lifted.delete(id)
    return known !== undefined && this.now() < known.keptUntil ? known : undefined
  }

  /** Whether this process knows anything of the circuit that a change of its record may end. */
  knows(circuit: LiveCircuit): boolean {
    return circuit.fleetState !== undefined || this.lifted.has(this.idOf(circuit))
  }

  /** Moves a circuit to the end of the order: if the store does not take it, the others come first the next time. */
  putLast(circuit: LiveCircuit): void {
    if (this.shared.delete(circuit)) this.shared.add(circuit)
  }

  idOf(circuit: LiveCircuit): string {
    return circuitId(circuit.group.name, circuit.key)
  }

  /** What must be the same for two processes to count each other's ballots. */
  boxOf(circuit: LiveCircuit): string {
    return `${protocolVersion}~${this.fingerprint(circuit.policy)}`
  }

  /** What must be the same for two processes to decide for each other. */
  fingerprint(policy: Policy): string {
    const known = this.fingerprints.get(policy)
    if (known !== undefined) return known
    const { fleet, mode, slowCallMillis, trip } = policy
    // A custom trip is known by its name: functions cannot be compared.
    const made = (Hash.string(JSON.stringify([trip, slowCallMillis, fleet, mode])) >>> 0).toString(36)
    this.fingerprints.set(policy, made)
    return made
  }

  /** Spreads what many processes do at the same moment: a duration that is up to a fifth longer or shorter. */
  spread(millis: number): number {
    return millis * (0.8 + 0.4 * this.random())
  }
}
