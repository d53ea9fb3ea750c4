import * as Hash from "effect/Hash"
import type { SharedStore } from "../../SharedStore.ts"
import { circuitId } from "../codec.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { overflowKey, type Registry } from "../engine/registry.ts"
import type { Runtime } from "../engine/runtime.ts"
import { Share } from "../engine/share.ts"
import type { Policy } from "../policy/policy.ts"
import type { Policies } from "../policy/settings.ts"
import type { Link } from "./link.ts"

/** A voice that was not heard of for this many sync intervals is taken for dead. */
const liveIntervals = 2.5

/** What all parts of a replica stand on: this process among the others. */
export class Ground {
  readonly registry: Registry
  readonly runtime: Runtime
  readonly store: SharedStore
  readonly link: Link
  /** The name of this process, and of no other, before or after it. */
  readonly voice: string
  readonly policies: Policies
  readonly random: () => number
  readonly syncMillis: number
  /** Until it has been heard what is open. */
  starting = true
  /** From when it takes back what it said. */
  leaving = false
  /** The circuits that have something with the fleet. */
  readonly shared = new Set<LiveCircuit>()
  private readonly fingerprints = new WeakMap<Policy, string>()
  private most = 0
  private mostAt = 0

  constructor(of: {
    readonly registry: Registry
    readonly store: SharedStore
    readonly link: Link
    readonly voice: string
    readonly policies: Policies
    readonly random: () => number
    readonly syncMillis: number
  }) {
    this.registry = of.registry
    this.runtime = of.registry.runtime
    this.store = of.store
    this.link = of.link
    this.voice = of.voice
    this.policies = of.policies
    this.random = of.random
    this.syncMillis = of.syncMillis
  }

  now(): number {
    return this.runtime.time.now()
  }

  get liveMillis(): number {
    return this.syncMillis * liveIntervals
  }

  /**
   * How many processes live, now that a store says so. One that has just lost its memory knows of few: what it said a short
   * while ago counts as well.
   */
  countLive(said: number): number {
    const now = this.now()
    if (said >= this.most || now - this.mostAt > this.liveMillis) {
      this.most = said
      this.mostAt = now
    }
    return this.live
  }

  /** How many processes were last said to live. */
  get live(): number {
    return Math.max(1, this.most)
  }

  isShareable(circuit: LiveCircuit): boolean {
    if (circuit.policy.fleet === false || circuit.key === overflowKey) return false
    const { longestCircuit } = this.store
    return longestCircuit === undefined || circuitId(circuit.group.name, circuit.key).length <= longestCircuit
  }

  shareOf(circuit: LiveCircuit): Share {
    if (circuit.share === undefined) {
      circuit.share = new Share()
      this.shared.add(circuit)
    }
    return circuit.share
  }

  forget(circuit: LiveCircuit): void {
    circuit.share = undefined
    this.shared.delete(circuit)
  }

  /** What the store does not take must not keep others from being told: they come first the next time. */
  putLast(circuit: LiveCircuit): void {
    if (this.shared.delete(circuit)) this.shared.add(circuit)
  }

  idOf(circuit: LiveCircuit): string {
    return circuitId(circuit.group.name, circuit.key)
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
}
