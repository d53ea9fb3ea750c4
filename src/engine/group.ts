import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import type { Problems } from "../core/fields.ts"
import { printable } from "../core/printable.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import { merge as mergePolicies } from "../policy/merge.ts"
import type { Policy } from "../policy/policy.ts"
import { none, type Policies, resolve } from "../policy/settings.ts"
import type { Durations } from "./durations.ts"
import { KeyPolicies } from "./keyPolicies.ts"
import { type Group, type LiveCircuit, noTotals, overflowKey, type Totals } from "./liveCircuit.ts"
import { stand } from "./standing.ts"

type Inline = Partial<Policy> | undefined

/** The policies of a caller and its inline policy, which together give the policy of the group. */
interface Agreed {
  readonly policies: Policies
  readonly version: number
  readonly inline: Inline
}

const add = (sum: Totals, one: Readonly<Totals>): void => {
  for (const name of Object.keys(noTotals) as Array<keyof Totals>) sum[name] += one[name]
}

/** Maximum number of declarations that are remembered. With more than this, each call compares the policies again. */
const maxAgreed = 8

/** The circuits of one name, and their policy. All callers of the name must declare the same policy. */
export class NamedGroup implements Group {
  readonly name: string
  policy: Policy
  single: LiveCircuit | undefined = undefined
  keyed: Map<string, LiveCircuit> | undefined = undefined
  overflow: LiveCircuit | undefined = undefined
  forced = false
  governs: boolean
  held = false
  enclosing = 1_000
  readonly moves = { Closed: 0, Open: 0, HalfOpen: 0, Isolated: 0, Disabled: 0 }
  outages = 0
  durations: Durations | undefined = undefined
  gone: Totals | undefined = undefined
  /** The declaration from which the policy comes: that of the first call, or of an operator before the first call. */
  private source: Agreed
  /** Whether a call or a promise breaker has declared the policy. An operator action does not declare a policy. */
  declared = false
  /** Declarations of the same policy, the latest first. */
  private agreed: Array<Agreed> = []

  private readonly keyPolicies: KeyPolicies
  readonly random: () => number

  constructor(name: string, policies: Policies, report: (message: string) => void, random: () => number = Math.random) {
    this.name = name
    this.random = random
    this.keyPolicies = new KeyPolicies(name, report)
    this.policy = policies.get(name)
    this.governs = this.policy.span
    this.source = { policies, version: policies.version, inline: undefined }
  }

  /** Whether an earlier call with the same declaration had the policy of this name. */
  hasAgreed(policies: Policies, inline: Inline): boolean {
    for (let i = 0; i < this.agreed.length; i++) {
      const one = this.agreed[i]
      if (one?.policies === policies && one.inline === inline) return one.version === policies.version
    }
    return false
  }

  /**
   * Takes the declaration of a call. Throws if it differs from the policy of this name, because two policies for one name are a mistake.
   * After a reload, the policies of the first caller decide for all callers.
   */
  agree(policies: Policies, inline: Inline): void {
    const given = merge(policies, this.name, inline)
    if (Result.isFailure(given)) throw new PolicyError({ problems: given.failure })
    if (this.declared) this.refresh()
    else this.follow(policies, inline)
    this.declared = true
    const differing = differingFields(this.policy, given.success)
    if (differing.length > 0) {
      throw new Error(
        `Two policies for the circuit "${printable(this.name)}" in one store: they differ in ${differing.join(", ")}. ` +
          "Give it one policy, in BreakerPolicy.layer or as one shared constant, with `keys` for the keys that differ, or use another name."
      )
    }
    const others = this.agreed.filter((one) => one.policies !== policies || one.inline !== inline)
    this.agreed = [{ policies, version: policies.version, inline }, ...others].slice(0, maxAgreed)
  }

  policyOf(key: string | undefined): Policy {
    return key === undefined || key === overflowKey
      ? this.policy
      : this.keyPolicies.of(this.policy, key, this.source.policies)
  }

  circuits(): ReadonlyArray<LiveCircuit> {
    return [this.single, ...(this.keyed?.values() ?? []), this.overflow].filter((one) => one !== undefined)
  }

  /** The circuits that are shown under a key. The empty key also shows the circuit without a key. */
  at(key: string): ReadonlyArray<LiveCircuit> {
    const shared = key === "" ? this.single : key === this.overflow?.key ? this.overflow : undefined
    return [shared, this.keyed?.get(key)].filter((one) => one !== undefined)
  }

  /** The totals of all circuits of the name. They include evicted circuits, so that no total ever decreases. */
  totals(): Totals {
    const sum = { ...(this.gone ?? noTotals) }
    for (const one of this.circuits()) add(sum, one)
    return sum
  }

  /** Removes a circuit and keeps its totals. */
  forget(circuit: LiveCircuit): void {
    this.gone ??= { ...noTotals }
    add(this.gone, circuit)
    if (circuit.key !== undefined) this.keyed?.delete(circuit.key)
  }

  /**
   * Updates the policy for a caller that declares none, such as an operator. Before the first call, the configured policies of this caller
   * apply, because code without configured policies may have made the circuit.
   */
  touch(policies: Policies): void {
    if (this.declared || policies === none || policies === this.source.policies) this.refresh()
    else this.follow(policies, undefined)
  }

  /** Applies a reload. */
  refresh(): void {
    const { inline, policies, version } = this.source
    if (version !== policies.version) this.follow(policies, inline)
  }

  private follow(policies: Policies, inline: Inline): void {
    const next = merge(policies, this.name, inline)
    // Equal policies stay the same object, because circuits compare them by identity. If a reload has removed a custom trip that `inline`
    // uses, the last valid policy stays.
    if (Result.isSuccess(next) && !Equal.equals(this.policy, next.success)) {
      this.policy = next.success
      this.keyPolicies.clear()
      stand(this)
    }
    this.source = { policies, version: policies.version, inline }
  }
}

const merge = (policies: Policies, name: string, inline: Inline): Result.Result<Policy, Problems> => {
  const configured = policies.get(name)
  return inline === undefined
    ? Result.succeed(configured)
    : Result.flatMap(resolve(policies, inline), (resolved) => mergePolicies(configured, resolved, "policy"))
}

const differingFields = (a: Policy, b: Policy): ReadonlyArray<string> =>
  (Object.keys(a) as Array<keyof Policy>).filter((field) => !Equal.equals(a[field], b[field]))
