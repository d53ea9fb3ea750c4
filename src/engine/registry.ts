import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Policies } from "../policy/BreakerPolicy.ts"
import type { Policy } from "../policy/policy.ts"
import { none } from "../policy/settings.ts"
import { CurrentTenant } from "../shapes/currentTenant.ts"
import { Durations } from "./durations.ts"
import { NamedGroup } from "./group.ts"
import { LiveCircuit, overflowKey } from "./liveCircuit.ts"
import { quietly } from "./logEvent.ts"
import { after, looksLikeTimeout, timeoutOutside, unlistedName } from "./misuse.ts"
import { type Enclosing, EnclosingCall } from "./nesting.ts"
import type { Runtime } from "./runtime.ts"
import { StallReport } from "./stallReport.ts"

/** Keys come from outside; a call with a longer one shares the circuit of those for which there is no room. */
export const maxKeyLength = 512

/** How many circuits are looked at to find one to evict; the next search goes on from there. */
const evictionSteps = 256

/** Mistakes are logged until there are this many, because names may come from outside. */
const maxAdvice = 20

/** What the services of a fiber say of a call. */
export interface Caller {
  readonly policies: Policies
  readonly tenant: string | undefined
  /** The call inside which the fiber runs, if any. */
  readonly inside: Enclosing | undefined
}

/** All circuits of one store in this process. */
export class Registry {
  readonly runtime: Runtime
  evicted = 0
  /** Calls whose key found no room, or was too long. */
  overflowed = 0
  private readonly maxCircuits: number
  private readonly groups = new Map<string, NamedGroup>()
  private size = 0
  private bounds: ReadonlyArray<number> | undefined = undefined
  /** Where the next search for a circuit to evict begins, in a ring of all that have a key, oldest first. */
  private hand: LiveCircuit | undefined = undefined

  /** The latest context and what it said: calls of one fiber come with the same one, time after time. */
  private context: Context.Context<never> | undefined = undefined
  private caller: Caller = { policies: none, tenant: undefined, inside: undefined }

  /** Who is told of each name when it is first used. Here and below: before the fields that calls read it costs them 20 ns. */
  readonly meeting = new Set<(group: NamedGroup) => void>()
  readonly stalls: StallReport
  private warned = false
  private readonly advised = new Set<string>()

  constructor(runtime: Runtime, maxCircuits: number) {
    this.runtime = runtime
    this.maxCircuits = maxCircuits
    this.stalls = new StallReport(runtime)
  }

  /** Who calls, and under which policies. */
  callerOf(context: Context.Context<never>): Caller {
    if (context === this.context) return this.caller
    const caller = {
      policies: Context.get(context, Policies),
      tenant: Context.get(context, CurrentTenant),
      inside: Context.get(context, EnclosingCall)
    }
    // Inside a call each context is new, and does not come again: the one outside does.
    if (caller.inside === undefined) {
      this.caller = caller
      this.context = context
    }
    return caller
  }

  /** The circuit that a call means, made if there is none. Dies if its policy is not that of the name. */
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

  /** Whether a circuit without a key, which {@link find} gave to the same caller, is still what it would give. */
  isStill({ basis, group }: LiveCircuit, { policies }: Caller, inline: Partial<Policy> | undefined): boolean {
    return basis === group.policy && group.hasAgreed(policies, inline)
  }

  /** Declares the policy of a name before its first call. Dies if its policy is another one. */
  declare(name: string, { policies }: Caller, inline: Partial<Policy> | undefined): void {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    if (!group.hasAgreed(policies, inline)) this.agree(group, policies, inline)
    for (const circuit of group.circuits()) if (circuit.basis !== group.policy) this.adopt(circuit)
  }

  /**
   * The same for somebody who steers it by hand. He has no policy to declare: the first call will. What he means is made
   * even where there is no room left, or he might steer a circuit that others share.
   */
  reach(name: string, key: string | undefined, { policies, tenant }: Caller): LiveCircuit {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    group.touch(policies)
    const own = keyFor(group.policy, key, tenant)
    return this.peek(name, own) ?? (own === undefined ? this.single(group) : this.keep(group, own))
  }

  /** The circuit that a call would use, for something beside the call that has no policy to declare. */
  beside(name: string, key: string | undefined, { policies, tenant }: Caller): LiveCircuit {
    const group = this.groups.get(name) ?? this.makeGroup(name, policies)
    group.touch(policies)
    const own = keyFor(group.policy, key, tenant)
    const circuit = this.own(name, own, policies)
    if (circuit !== undefined) return circuit
    group.overflow ??= new LiveCircuit(group, overflowKey)
    return group.overflow
  }

  /** The circuit that somebody looks at: the one that calls would use, or one that nobody has called, kept nowhere. */
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

  /** The circuit of a name and key, if there is one. */
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

  /** All circuits, under the policies that hold now. */
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

  /** The circuits of each name, under the policies that hold now. */
  *named(): Generator<NamedGroup> {
    for (const group of this.groups.values()) {
      group.refresh()
      yield group
    }
  }

  /** From now on it is known how long calls take, up to these bounds in milliseconds. */
  measure(bounds: ReadonlyArray<number>): void {
    this.bounds = bounds
    for (const group of this.groups.values()) group.durations ??= new Durations(bounds)
  }

  /** How many circuits there are. */
  count(): number {
    let found = this.size
    for (const group of this.groups.values()) {
      if (group.single !== undefined) found++
      if (group.overflow !== undefined) found++
    }
    return found
  }

  private newGroup(name: string, policies: Policies): NamedGroup {
    return new NamedGroup(name, policies, (message) => this.runtime.background(quietly(Effect.logError(message))))
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
    circuit.change(this.runtime.time.now())
    this.runtime.checkHealth(circuit)
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

  /** A call that is interrupted is Ignored. If most are, after the same time, the log says so once for each name. */
  interrupted(circuit: LiveCircuit, millis: number, now: number): Effect.Effect<void> | undefined {
    circuit.ignored++
    const ended = circuit.calls - circuit.inFlight
    const run = after(circuit.interruptions, ended, millis, now)
    circuit.interruptions = run
    const { name } = circuit.group
    return looksLikeTimeout(run, ended, now) ? this.advise(name, timeoutOutside(name, run.millis)) : undefined
  }

  /** Logs what looks like a mistake in the program, once for each subject. */
  advise(subject: string, line: string): Effect.Effect<void> | undefined {
    if (this.advised.has(subject) || this.advised.size >= maxAdvice) return undefined
    this.advised.add(subject)
    return quietly(Effect.logWarning(line))
  }

  /** What is shared by those without room protects none of them well: somebody should know, once. */
  private warn(): void {
    if (this.warned) return
    this.warned = true
    const line = `There is room for ${this.maxCircuits} circuits with keys, and no idle one was found: calls with other keys share one for each name`
    this.runtime.background(quietly(Effect.logWarning(line)))
  }

  private single(group: NamedGroup): LiveCircuit {
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
    return circuit
  }

  /** Room for one more, made if need be; and what was made beyond it by hand is given back, one at a time. */
  private hasRoom(): boolean {
    if (this.size > this.maxCircuits) this.evict()
    return this.size < this.maxCircuits || this.evict()
  }

  /**
   * Makes room by forgetting a circuit that is idle: of those that come next in the ring the first that was not called
   * since the search last came by, or else the first that is idle at all. So calls keep no order of use for this.
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
    return true
  }

  /** Keeps a circuit with a key no longer, if no call is in it. */
  drop(circuit: LiveCircuit): void {
    if (circuit.next === undefined || circuit.inFlight > 0 || circuit.pending > 0) return
    this.forget(circuit)
    this.evicted--
  }

  private forget(circuit: LiveCircuit): void {
    const { next, previous } = circuit
    // The search goes on behind what it found, with what it has seen on the way there.
    this.hand = next === circuit ? undefined : next
    if (next !== undefined && previous !== undefined) {
      previous.next = next
      next.previous = previous
    }
    this.groups.get(circuit.group.name)?.forget(circuit)
    this.runtime.peers?.forgotten(circuit)
    circuit.unwatch()
    this.size--
    this.evicted++
  }
}

/** The key under which a circuit is kept. The first slash is the border between tenant and key: no two pairs meet. */
const keyFor = (policy: Policy, key: string | undefined, tenant: string | undefined): string | undefined => {
  if (tenant === undefined || policy.tenants !== "separate") return key
  const escaped = tenant.replaceAll("%", "%25").replaceAll("/", "%2F")
  return key === undefined ? escaped : `${escaped}/${key}`
}
