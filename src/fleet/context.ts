import * as Hash from "effect/Hash"
import * as Fleet from "../core/Fleet.ts"
import { remember } from "../core/remember.ts"
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

const protocolVersion = 2

/** The most lifted overrides that are remembered for circuits without fleet state. */
const maxLifted = 1_000

/** What all parts of this folder share: the identity of this process, its clock, its store and its circuits. */
export class FleetContext {
  readonly registry: Registry
  readonly runtime: Runtime
  readonly store: SharedStore
  readonly client: StoreClient
  /** The name of this process. It is unique: no other process and no earlier run of this one has the same. */
  readonly voter: string
  readonly policies: Policies
  readonly random: () => number
  readonly syncMillis: number
  /** How long a process that starts waits for the store to be connected. */
  readonly connectMillis: number
  /** Whether heartbeats carry a digest. */
  readonly digest: boolean
  /** True until this process has read which circuits are open. */
  starting = true
  leaving = false
  /**
   * Whether this process is stalled, or was stalled a moment ago. The process then casts no ballots, and opens no circuit for the fleet.
   */
  isStalled: () => boolean = () => false
  /** The highest epoch that this process has read. */
  floor = 0
  /** The highest epoch that this process has read since the store last lost writes. */
  epoch = 0
  /** The circuits that have fleet state. */
  readonly shared = new Set<LiveCircuit>()
  /** Lifted overrides of circuits without fleet state, by circuit id: a process that missed the lift must not bring one back. */
  private readonly lifted = new Map<string, KnownRecord>()
  private readonly fingerprints = new WeakMap<Policy, string>()
  /** The number of live processes, and what it was when the store last knew all of them. */
  private alive = 0
  private remembered = 0
  /** When the store last counted this process as alive again, after it had counted it as dead. */
  joinedAt = Number.NEGATIVE_INFINITY
  /** When the store began to count the live processes, by the clock of this process. */
  private countsSince = Number.NEGATIVE_INFINITY

  constructor(
    of: Pick<
      FleetContext,
      "registry" | "store" | "client" | "voter" | "policies" | "random" | "syncMillis" | "connectMillis" | "digest"
    >
  ) {
    this.registry = of.registry
    this.runtime = of.registry.runtime
    this.store = of.store
    this.client = of.client
    this.voter = of.voter
    this.policies = of.policies
    this.random = of.random
    this.syncMillis = of.syncMillis
    this.connectMillis = of.connectMillis
    this.digest = of.digest
  }

  now(): number {
    return this.runtime.time.now()
  }

  /** How long an exchange keeps this process alive in the store, in milliseconds. */
  get liveMillis(): number {
    return Fleet.livesFor(this.syncMillis)
  }

  /** The `ttl` of an exchange: 0 once this process is leaving. */
  get ttl(): number {
    return this.leaving ? 0 : this.liveMillis
  }

  /** Takes over the number of live processes. While the store is young, the last complete number is the minimum. */
  noteLive(live: number, liveMillisOfStore: number): void {
    const now = this.now()
    // After its clock leapt forward, a store does not know all live processes, either. The same holds for a store that counted this process
    // as dead: if it was out of reach, it counted the others as dead, too.
    const liveForMillis = Math.min(liveMillisOfStore, now - this.client.leaptAt, now - this.joinedAt)
    if (liveForMillis >= this.liveMillis) this.remembered = live
    this.alive = Math.max(live, this.remembered)
    this.countsSince = now - liveForMillis
  }

  get live(): number {
    return Math.max(1, this.alive)
  }

  /** Whether the store may not know all live processes yet. */
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

  /** Removes the fleet state of a circuit. A lifted override is remembered; see `lifted`. */
  forget(circuit: LiveCircuit): void {
    const known = circuit.fleetState?.record.known
    if (known !== undefined && isLift(known.provenance.why) && this.now() < known.keptUntil) {
      remember(this.lifted, this.idOf(circuit), known, maxLifted)
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

  /** Whether this process has fleet state or a lifted override of the circuit, which a new record replaces. */
  knows(circuit: LiveCircuit): boolean {
    return circuit.fleetState !== undefined || this.lifted.has(this.idOf(circuit))
  }

  /** Moves a circuit to the end of {@link shared}, so that the others come first if the store does not take its record. */
  putLast(circuit: LiveCircuit): void {
    if (this.shared.delete(circuit)) this.shared.add(circuit)
  }

  idOf(circuit: LiveCircuit): string {
    return circuitId(circuit.group.name, circuit.key)
  }

  /** The ballot box of a circuit. Processes with another version of the protocol or another policy use another box. */
  boxOf(circuit: LiveCircuit): string {
    // With `span`, the circuit of a name is about all of its keys.
    const span = circuit.key === undefined && circuit.policy.span ? "~span" : ""
    return `${protocolVersion}~${this.fingerprint(circuit.policy)}${span}`
  }

  /** A hash of the parts of a policy in which processes must agree to decide for each other. */
  fingerprint(policy: Policy): string {
    const known = this.fingerprints.get(policy)
    if (known !== undefined) return known
    const { fleet, mode, slowCallMillis, trip } = policy
    // A custom trip is known by its name: functions cannot be compared.
    const made = (Hash.string(JSON.stringify([trip, slowCallMillis, fleet, mode])) >>> 0).toString(36)
    this.fingerprints.set(policy, made)
    return made
  }

  /** A duration that is up to a fifth longer or shorter, so that many processes do not act at the same moment. */
  spread(millis: number): number {
    return millis * (0.8 + 0.4 * this.random())
  }
}
