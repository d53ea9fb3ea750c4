import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import type { Problems } from "../core/fields.ts"
import { printable } from "../core/printable.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import type { Policy } from "../policy/policy.ts"
import { none, type Policies, resolve } from "../policy/settings.ts"
import type { Durations } from "./durations.ts"
import { KeyPolicies } from "./keyPolicies.ts"
import { type Group, type LiveCircuit, overflowKey, type Totals } from "./liveCircuit.ts"

type Inline = Partial<Policy> | undefined

/** Policies, and what a call says beside them, that were found to mean the policy of a group. */
interface Agreed {
  readonly policies: Policies
  readonly version: number
  readonly inline: Inline
}

const nothing: Readonly<Totals> = { calls: 0, successes: 0, failures: 0, ignored: 0, slow: 0, rejected: 0, passed: 0 }

const add = (sum: Totals, one: Readonly<Totals>): void => {
  for (const name of Object.keys(nothing) as Array<keyof Totals>) sum[name] += one[name]
}

/** So many different places may declare the policy of one name before each call compares it again. */
const maxAgreed = 8

/** The circuits of one name, and the one policy that all who call it must mean. */
export class NamedGroup implements Group {
  readonly name: string
  policy: Policy
  single: LiveCircuit | undefined = undefined
  keyed: Map<string, LiveCircuit> | undefined = undefined
  overflow: LiveCircuit | undefined = undefined
  forced = false
  enclosing = 1_000
  readonly moves = { Closed: 0, Open: 0, HalfOpen: 0, Isolated: 0, Disabled: 0 }
  outages = 0
  durations: Durations | undefined = undefined
  /** What circuits had counted that are kept no longer; nothing while there are none. */
  gone: Totals | undefined = undefined
  /** Who said what the policy is: whoever came first, until the first call does. */
  private source: Agreed
  /** Whether a call has, or the maker of a promise breaker. An operator has no policy to declare. */
  declared = false
  /** The latest first. */
  private agreed: Array<Agreed> = []

  private readonly keyPolicies: KeyPolicies

  constructor(name: string, policies: Policies, report: (message: string) => void) {
    this.name = name
    this.keyPolicies = new KeyPolicies(name, report)
    this.policy = policies.get(name)
    this.source = { policies, version: policies.version, inline: undefined }
  }

  /** Whether a call that said this was found to mean the policy of this name. */
  hasAgreed(policies: Policies, inline: Inline): boolean {
    for (let i = 0; i < this.agreed.length; i++) {
      const one = this.agreed[i]
      if (one?.policies === policies && one.inline === inline) return one.version === policies.version
    }
    return false
  }

  /**
   * Takes what a call says for the policy of this name, or dies: two policies for one name are a mistake. A reload is
   * none: what the first caller's policies now say holds for all.
   */
  agree(policies: Policies, inline: Inline): void {
    const said = merge(policies, this.name, inline)
    if (Result.isFailure(said)) throw new PolicyError({ problems: said.failure })
    if (this.declared) this.refresh()
    else this.follow(policies, inline)
    this.declared = true
    const differing = differingFields(this.policy, said.success)
    if (differing.length > 0) {
      throw new Error(
        `Two policies for the circuit "${printable(this.name)}" in one store: they differ in ${differing.join(", ")}. ` +
          "Give it one policy, in BreakerPolicy.layer or as one shared constant, with `keys` for the keys that differ, or use another name."
      )
    }
    const others = this.agreed.filter((one) => one.policies !== policies || one.inline !== inline)
    this.agreed = [{ policies, version: policies.version, inline }, ...others].slice(0, maxAgreed)
  }

  /** The policy of the circuit of a key. */
  policyOf(key: string | undefined): Policy {
    return key === undefined || key === overflowKey
      ? this.policy
      : this.keyPolicies.of(this.policy, key, this.source.policies)
  }

  /** All circuits of the name. */
  circuits(): ReadonlyArray<LiveCircuit> {
    return [this.single, ...(this.keyed?.values() ?? []), this.overflow].filter((one) => one !== undefined)
  }

  /** Those that are shown by a key: by the empty one that of the name, too. */
  at(key: string): ReadonlyArray<LiveCircuit> {
    const shared = key === "" ? this.single : key === this.overflow?.key ? this.overflow : undefined
    return [shared, this.keyed?.get(key)].filter((one) => one !== undefined)
  }

  /** What all circuits of the name have counted, those that are kept no longer included: it never becomes less. */
  totals(): Totals {
    const sum = { ...(this.gone ?? nothing) }
    for (const one of this.circuits()) add(sum, one)
    return sum
  }

  /** What a circuit has counted goes on being known. */
  forget(circuit: LiveCircuit): void {
    this.gone ??= { ...nothing }
    add(this.gone, circuit)
    if (circuit.key !== undefined) this.keyed?.delete(circuit.key)
  }

  /**
   * For a caller that declares no policy, such as an operator. Before the first call, the policies that are configured for this
   * caller hold: the circuit may have been made by code for which none are configured.
   */
  touch(policies: Policies): void {
    if (this.declared || policies === none || policies === this.source.policies) this.refresh()
    else this.follow(policies, undefined)
  }

  /** Takes on what a reload has changed. */
  refresh(): void {
    const { inline, policies, version } = this.source
    if (version !== policies.version) this.follow(policies, inline)
  }

  private follow(policies: Policies, inline: Inline): void {
    const next = merge(policies, this.name, inline)
    // The same object for the same policy: circuits compare it by identity. If a reload has removed the custom trip that `inline`
    // names, the last good policy stays.
    if (Result.isSuccess(next) && !Equal.equals(this.policy, next.success)) {
      this.policy = next.success
      this.keyPolicies.clear()
    }
    this.source = { policies, version: policies.version, inline }
  }
}

const merge = (policies: Policies, name: string, inline: Inline): Result.Result<Policy, Problems> => {
  const configured = policies.get(name)
  return inline === undefined
    ? Result.succeed(configured)
    : Result.map(resolve(policies, inline), (resolved) => ({ ...configured, ...resolved }))
}

const differingFields = (a: Policy, b: Policy): ReadonlyArray<string> =>
  (Object.keys(a) as Array<keyof Policy>).filter((field) => !Equal.equals(a[field], b[field]))
