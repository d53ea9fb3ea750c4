import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Policies } from "../policy/BreakerPolicy.ts"
import type { Policy } from "../policy/policy.ts"
import { none } from "../policy/settings.ts"
import { type CallDeadline, CurrentDeadline } from "../shapes/currentDeadline.ts"
import { CurrentTenant } from "../shapes/currentTenant.ts"
import { Durations } from "./durations.ts"
import { NamedGroup } from "./group.ts"
import { limitNews } from "./limits.ts"
import { type Group, LiveCircuit, overflowKey } from "./liveCircuit.ts"
import { quietly } from "./logEvent.ts"
import { after, looksLikeTimeout, timeoutOutside, unlistedName } from "./misuse.ts"
import { type Enclosing, EnclosingCall } from "./nesting.ts"
import type { Runtime } from "./runtime.ts"
import { StallReport } from "./stallReport.ts"

/** Calls with a longer key share the overflow circuit, because keys may be foreign text. */
export const maxKeyLength = 512

/** Maximum number of circuits that one search for a circuit to evict visits. The next search continues from there. */
const evictionSteps = 256

/** Maximum number of mistakes that are logged, because names may be foreign text. */
const maxAdvice = 20

export interface Caller {
  readonly registry: Registry
  readonly policies: Policies
  readonly tenant: string | undefined
  readonly inside: Enclosing | undefined
  readonly deadline: CallDeadline | undefined
}

export class Registry {
  readonly runtime: Runtime
  evicted = 0
  overflowed = 0
  private readonly maxCircuits: number
  private readonly groups = new Map<string, NamedGroup>()
  private size = 0
  private bounds: ReadonlyArray<number> | undefined = undefined
  /** Where the next search for a circuit to evict begins, in a ring of all circuits with a key, oldest first. */
  private hand: LiveCircuit | undefined = undefined

  /** The caller of the latest context is cached, because all calls of a fiber have the same context. */
  private context: Context.Context<never> | undefined = undefined
  private caller: Caller = { registry: this, policies: none, tenant: undefined, inside: undefined, deadline: undefined }

  // Fields that calls do not read come last: before the others they cost each call 20 ns.
  /** Listeners that are called when a name is first used. */
  readonly meeting = new Set<(group: NamedGroup) => void>()
  readonly stalls: StallReport
  private warned = false
  private readonly advised = new Set<string>()

  constructor(runtime: Runtime, maxCircuits: number) {
    this.runtime = runtime
    this.maxCircuits = maxCircuits
    this.stalls = new StallReport(runtime)
  }

  callerOf(context: Context.Context<never>): Caller {
    if (context === this.context) return this.caller
    const caller = {
      registry: this,
      policies: Context.get(context, Policies),
      tenant: Context.get(context, CurrentTenant),
      inside: Context.get(context, EnclosingCall),
      deadline: Context.get(context, CurrentDeadline)
    }
    // The context inside a call is new for each call, so caching it would not help.
    if (caller.inside === undefined) {
      this.caller = caller
      this.context = context
    }
    return caller
  }

  /** The circuit of a call, made if there is none. Throws if the call declares another policy than that of the name. */
  find(
    name: string,
    key: string | undefined,
    { policies, tenant }: Caller,
    inline: Partial<Policy> | undefined
  ): LiveCircuit {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    if (!group.hasAgreed(policies, inline)) this.agree(group, policies, inline)
    const own = tenant === undefined ? key : keyFor(group.policy, key, tenant)
    const known = own === undefined ? group.single : group.keyed?.get(own)
    const circuit = known ?? this.make(group, own)
    if (circuit.basis !== group.policy) this.adopt(circuit)
    return circuit
  }

  /** Whether {@link find} would still return this circuit, which it has returned for the same key and tenant. */
  isStill(
    { basis, group, key, next }: LiveCircuit,
    { policies }: Caller,
    inline: Partial<Policy> | undefined
  ): boolean {
    return basis === group.policy && (key === undefined || next !== undefined) && group.hasAgreed(policies, inline)
  }

  /** Declares the policy of a name before its first call. Throws if the name has another policy. */
  declare(name: string, { policies }: Caller, inline: Partial<Policy> | undefined): void {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    if (!group.hasAgreed(policies, inline)) this.agree(group, policies, inline)
    for (const circuit of group.circuits()) if (circuit.basis !== group.policy) this.adopt(circuit)
  }

  /**
   * The circuit for an operator action, made if there is none. An operator action does not declare a policy; the first call does. The
   * circuit is made even if there is no room, so that the action never applies to the overflow circuit.
   */
  reach(name: string, key: string | undefined, { policies, tenant }: Caller): LiveCircuit {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    group.touch(policies)
    const own = keyFor(group.policy, key, tenant)
    return this.peek(name, own) ?? (own === undefined ? this.single(group) : this.keep(group, own))
  }

  /** The circuit that a call would use, made if there is none, for a caller that declares no policy. */
  beside(name: string, key: string | undefined, { policies, tenant }: Caller): LiveCircuit {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    group.touch(policies)
    const own = keyFor(group.policy, key, tenant)
    const circuit = this.own(name, own, policies)
    if (circuit !== undefined) return circuit
    group.overflow ??= new LiveCircuit(group, overflowKey)
    return group.overflow
  }

  /** The circuit that a call would use, for inspection. If there is none, it returns a new one that is not kept. */
  view(name: string, key: string | undefined, { policies, tenant }: Caller, inline?: Partial<Policy>): LiveCircuit {
    const group = this.groups.get(name)
    if (group === undefined) {
      const unused = this.newGroup(name, policies)
      if (inline !== undefined) unused.agree(policies, inline)
      return new LiveCircuit(unused, keyFor(unused.policy, key, tenant))
    }
    group.touch(policies)
    const own = keyFor(group.policy, key, tenant)
    const noRoom = own !== undefined && (own.length > maxKeyLength || this.size >= this.maxCircuits)
    const circuit = this.peek(name, own) ?? (noRoom ? group.overflow : undefined) ?? new LiveCircuit(group, own)
    if (circuit.basis !== group.policy) this.adopt(circuit)
    return circuit
  }

  /** The circuit of a name and a whole key, if there is one. */
  peek(name: string, key: string | undefined): LiveCircuit | undefined {
    const group = this.groups.get(name)
    if (group === undefined) return undefined
    group.refresh()
    const circuit = key === undefined ? group.single : key === overflowKey ? group.overflow : group.keyed?.get(key)
    if (circuit !== undefined && circuit.basis !== group.policy) this.adopt(circuit)
    return circuit
  }

  /** The circuit of a name and a whole key, made if there is none and there is room. */
  own(name: string, key: string | undefined, policies: Policies): LiveCircuit | undefined {
    const known = this.peek(name, key)
    if (known !== undefined) return known
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    if (key === undefined) return this.single(group)
    return key !== overflowKey && key.length <= maxKeyLength && this.hasRoom() ? this.keep(group, key) : undefined
  }

  /** The circuit without a key, made if there is none. */
  nameOf(circuit: LiveCircuit): LiveCircuit {
    const { group } = circuit
    const single = group.single ?? this.single(group)
    if (single.basis !== group.policy) this.adopt(single)
    return single
  }

  all(): ReadonlyArray<LiveCircuit> {
    const found: Array<LiveCircuit> = []
    for (const group of this.groups.values()) {
      group.refresh()
      for (const circuit of group.circuits()) {
        if (circuit.basis !== group.policy) this.adopt(circuit)
        found.push(circuit)
      }
    }
    return found
  }

  *named(): Generator<NamedGroup> {
    for (const group of this.groups.values()) {
      group.refresh()
      yield group
    }
  }

  /** Starts to measure the durations of calls. `bounds`: the upper bounds of the buckets, in milliseconds. */
  measure(bounds: ReadonlyArray<number>): void {
    this.bounds = bounds
    for (const group of this.groups.values()) group.durations ??= new Durations(bounds)
  }

  count(): number {
    let found = this.size
    for (const group of this.groups.values()) {
      if (group.single !== undefined) found++
      if (group.overflow !== undefined) found++
    }
    return found
  }

  private newGroup(name: string, policies: Policies): NamedGroup {
    const report = (message: string) => this.runtime.background(quietly(Effect.logError(message)))
    return new NamedGroup(name, policies, report, this.runtime.random)
  }

  private makeGroup(name: string, policies: Policies): NamedGroup {
    const group = this.newGroup(name, policies)
    if (this.bounds !== undefined) group.durations = new Durations(this.bounds)
    this.groups.set(name, group)
    for (const meet of this.meeting) meet(group)
    return group
  }

  private agree(group: NamedGroup, policies: Policies, inline: Partial<Policy> | undefined): void {
    const isFirst = !group.declared
    group.agree(policies, inline)
    if (isFirst && policies.names !== undefined && !policies.names.includes(group.name)) {
      const advice = this.advise(`names ${group.name}`, unlistedName(group.name, policies.names))
      if (advice !== undefined) this.runtime.background(advice)
    }
    if (!isFirst || group.policy.fleet !== false) return
    for (const circuit of group.circuits()) {
      if (circuit.fleetState === undefined) continue
      this.adopt(circuit)
      this.runtime.peers?.disowned(circuit)
    }
  }

  private adopt(circuit: LiveCircuit): void {
    const now = this.runtime.time.now()
    circuit.change(now)
    this.announceLimit(circuit, now)
    this.runtime.checkHealth(circuit)
  }

  /** Announces that the limit of a circuit has ended, because its policy or the circuit itself is gone. */
  private announceLimit(circuit: LiveCircuit, now: number): void {
    const news = limitNews(this.runtime, circuit, now)
    if (news !== undefined) this.runtime.background(news)
  }

  private make(group: NamedGroup, key: string | undefined): LiveCircuit {
    if (key === undefined) return this.single(group)
    if (key !== overflowKey && key.length <= maxKeyLength) {
      if (this.hasRoom()) return this.keep(group, key)
      this.warn()
    }
    this.overflowed++
    group.overflow ??= new LiveCircuit(group, overflowKey)
    return group.overflow
  }

  /** Counts an interrupted call as Ignored. If most calls are interrupted after the same time, this is logged once for each name. */
  interrupted(circuit: LiveCircuit, millis: number, now: number): Effect.Effect<void> | undefined {
    circuit.ignored++
    const ended = circuit.calls - circuit.inFlight
    const run = after(circuit.interruptions, ended, millis, now)
    circuit.interruptions = run
    const { name } = circuit.group
    return looksLikeTimeout(run, ended, now) ? this.advise(name, timeoutOutside(name, run.millis)) : undefined
  }

  /** Logs a likely mistake in the program, once for each subject. */
  advise(subject: string, line: string): Effect.Effect<void> | undefined {
    if (this.advised.has(subject) || this.advised.size >= maxAdvice) return undefined
    this.advised.add(subject)
    return quietly(Effect.logWarning(line))
  }

  /** Logs once that keys share a circuit, which protects none of them well. */
  private warn(): void {
    if (this.warned) return
    this.warned = true
    const line = `There is room for ${this.maxCircuits} circuits with keys, and no idle one was found: calls with other keys share one circuit for each name`
    this.runtime.background(quietly(Effect.logWarning(line)))
  }

  private single(group: Group): LiveCircuit {
    if (group.single !== undefined) return group.single
    group.single = new LiveCircuit(group, undefined)
    this.runtime.peers?.created(group.single)
    this.runtime.checkHealth(group.single)
    return group.single
  }

  private keep(group: NamedGroup, key: string): LiveCircuit {
    const circuit = new LiveCircuit(group, key)
    this.runtime.peers?.created(circuit)
    this.runtime.checkHealth(circuit)
    group.keyed ??= new Map()
    group.keyed.set(key, circuit)
    this.size++
    const next = this.hand ?? circuit
    const last = next.previous ?? circuit
    circuit.next = next
    circuit.previous = last
    last.next = circuit
    next.previous = circuit
    this.hand = next
    // The name takes part in the fleet before its first call ends.
    if (group.governs) this.nameOf(circuit)
    return circuit
  }

  /** Whether there is room for one more circuit. It may evict one, and a second one if operator actions have made too many. */
  private hasRoom(): boolean {
    if (this.size > this.maxCircuits) this.evict()
    return this.size < this.maxCircuits || this.evict()
  }

  /**
   * Evicts an idle circuit: the next one in the ring that was not called since the search last visited it, or else the next idle one. This
   * approximates the least recently used circuit without any work in calls.
   */
  private evict(): boolean {
    const now = this.runtime.time.now()
    let found: LiveCircuit | undefined
    for (let step = 0; step < evictionSteps && step < this.size; step++) {
      const circuit = this.hand
      if (circuit === undefined) break
      const untouched = circuit.callsWhenPassed === circuit.calls
      circuit.callsWhenPassed = circuit.calls
      this.hand = circuit.next
      if ((found !== undefined && !untouched) || !circuit.isIdle(now)) continue
      found = circuit
      if (untouched) break
    }
    if (found === undefined) return false
    this.forget(found)
    this.evicted++
    return true
  }

  /** Removes a circuit with a key, unless a call is in flight. */
  drop(circuit: LiveCircuit): void {
    if (circuit.next === undefined || circuit.inFlight > 0 || circuit.pending > 0) return
    this.forget(circuit)
  }

  private forget(circuit: LiveCircuit): void {
    const { next, previous } = circuit
    this.hand = next === circuit ? undefined : next
    if (next !== undefined && previous !== undefined) {
      previous.next = next
      next.previous = previous
    }
    circuit.next = undefined
    circuit.previous = undefined
    circuit.limit = undefined
    this.announceLimit(circuit, this.runtime.time.now())
    this.groups.get(circuit.group.name)?.forget(circuit)
    this.runtime.peers?.forgotten(circuit)
    circuit.unwatch()
    this.size--
  }
}

/** The whole key of a circuit. Slashes in the tenant are escaped, so that different pairs of tenant and key have different keys. */
const keyFor = (policy: Policy, key: string | undefined, tenant: string | undefined): string | undefined => {
  if (tenant === undefined || policy.tenants !== "separate") return key
  const escaped = tenant.replaceAll("%", "%25").replaceAll("/", "%2F")
  return key === undefined ? escaped : `${escaped}/${key}`
}
