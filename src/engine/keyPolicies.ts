import { describeProblems } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { printableCircuit } from "../core/printable.ts"
import { merge } from "../policy/merge.ts"
import type { Policy } from "../policy/policy.ts"
import type { Policies } from "../policy/settings.ts"

type Difference = Partial<Policy>

/** The policies of the keys of one name. Only the circuit of a key keeps its policy, so their number is bounded by that of the circuits. */
export class KeyPolicies {
  private readonly name: string
  private readonly report: (message: string) => void
  private reported = false
  /** Caches by identity, so that a function that returns constants makes no new policies. */
  private decoded = new WeakMap<object, Difference>()
  private merged = new WeakMap<Difference, Policy>()

  constructor(name: string, report: (message: string) => void) {
    this.name = name
    this.report = report
  }

  /** Call this after the policy of the name or the custom trips have changed. */
  clear(): void {
    this.decoded = new WeakMap()
    this.merged = new WeakMap()
    this.reported = false
  }

  /** The policy of the name with the fields that differ for a key. */
  of(policy: Policy, key: string, policies: Policies): Policy {
    const { keys } = policy
    if (keys === undefined) return policy
    const difference = typeof keys === "function" ? this.ask(keys, key, policies) : keys.get(key)
    if (difference === undefined) return policy
    const known = this.merged.get(difference)
    if (known !== undefined) return known
    const made = merge(policy, difference, "keys")
    if (made._tag === "Failure") {
      this.fail(key, describeProblems(made.failure))
      return policy
    }
    this.merged.set(difference, made.success)
    return made.success
  }

  private ask(keys: (key: string) => unknown, key: string, policies: Policies): Difference | undefined {
    let given: unknown
    try {
      given = keys(key)
    } catch (error) {
      return this.fail(key, foreignText(error))
    }
    if (given === undefined) return undefined
    const known = typeof given === "object" && given !== null ? this.decoded.get(given) : undefined
    if (known !== undefined) return known
    const decoded = policies.decodeKey(given, "keys")
    if (decoded._tag === "Failure") return this.fail(key, describeProblems(decoded.failure).replaceAll("\n", "; "))
    this.decoded.set(given as object, decoded.success)
    return decoded.success
  }

  private fail(key: string, why: string): undefined {
    if (this.reported) return undefined
    this.reported = true
    const circuit = printableCircuit(this.name, key)
    this.report(`The policy of the circuit ${circuit} cannot be used; the policy of the name is used: ${why}`)
    return undefined
  }
}
