import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Fiber from "effect/Fiber"
import * as PubSub from "effect/PubSub"
import * as TxRef from "effect/TxRef"
import type { BreakerEvent } from "../BreakerEvent.ts"
import type { Policies } from "../BreakerPolicy.ts"
import * as Circuit from "../Circuit.ts"
import { openFor } from "./cooldown.ts"
import { type Group, LiveCircuit } from "./liveCircuit.ts"
import { logEvent } from "./logEvent.ts"
import type { Policy } from "./policy.ts"
import type { Time } from "./time.ts"

/** Keys come from outside: a longer one shares the circuit of those for which there is no room. */
export const maxKeyLength = 512

/** How many circuits are looked at to find one to evict. */
const evictionSteps = 32

/** Runs an effect as long as the store lives, with the services of the store and not those of some caller. */
export type Background = (effect: Effect.Effect<unknown>) => Fiber.Fiber<unknown>

/** Policies under which a group was found to be usable, so that the comparison is made once. */
interface Accepted {
  readonly policies: Policies
  readonly inline: Partial<Policy> | undefined
  version: number
}

interface NamedGroup extends Group {
  readonly accepted: Array<Accepted>
}

/** What a move did. */
export interface Moved {
  readonly from: Circuit.Circuit
  readonly to: Circuit.Circuit
}

/** All circuits of one store in this process. */
export class Registry {
  readonly time: Time
  readonly events: PubSub.PubSub<BreakerEvent>
  evicted = 0
  /** Calls whose key found no room, or was too long. */
  overflowed = 0
  private readonly maxCircuits: number
  private readonly background: Background
  private readonly groups = new Map<string, NamedGroup>()
  private size = 0
  /** Where the next search for a circuit to evict begins, in a ring of all that have a key. */
  private hand: LiveCircuit | undefined = undefined

  constructor(options: {
    readonly time: Time
    readonly events: PubSub.PubSub<BreakerEvent>
    readonly background: Background
    readonly maxCircuits: number
  }) {
    this.time = options.time
    this.events = options.events
    this.background = options.background
    this.maxCircuits = options.maxCircuits
  }

  /** The circuit of a name and key, made if there is none, under the policies given. */
  find(
    name: string,
    key: string | undefined,
    tenant: string | undefined,
    policies: Policies,
    inline: Partial<Policy> | undefined
  ): LiveCircuit {
    let group = this.groups.get(name)
    const accepted = group?.accepted[0]
    if (
      group === undefined ||
      accepted === undefined ||
      accepted.policies !== policies ||
      accepted.version !== policies.version ||
      accepted.inline !== inline
    ) {
      group = this.accept(name, policies, inline)
    }
    return this.member(
      group,
      tenant === undefined || group.policy.tenants !== "separate" ? key : tenantKey(tenant, key)
    )
  }

  /** The same for somebody who steers it by hand, and has no policy to declare: the first call will. */
  reach(name: string, key: string | undefined, tenant: string | undefined, policies: Policies): LiveCircuit {
    let group = this.groups.get(name)
    if (group === undefined) {
      group = { ...newGroup(name, policies.get(name)), accepted: [] }
      this.groups.set(name, group)
    }
    return this.member(group, this.keyOf(name, key, tenant, policies))
  }

  private member(group: NamedGroup, key: string | undefined): LiveCircuit {
    const circuit =
      key === undefined
        ? (group.single ?? this.makeSingle(group))
        : (group.keyed?.get(key) ?? this.makeKeyed(group, key))
    if (circuit.policy !== group.policy) circuit.change(group.policy, this.time.now())
    return circuit
  }

  /** The key under which a circuit is kept, for a tenant whose policy separates tenants. */
  keyOf(name: string, key: string | undefined, tenant: string | undefined, policies: Policies): string | undefined {
    const policy = this.groups.get(name)?.policy ?? policies.get(name)
    return tenant === undefined || policy.tenants !== "separate" ? key : tenantKey(tenant, key)
  }

  /** A circuit that nobody has called, kept nowhere. */
  blank(name: string, key: string | undefined, policies: Policies): LiveCircuit {
    const group = this.groups.get(name)
    return new LiveCircuit(group ?? newGroup(name, policies.get(name)), key)
  }

  /** How many circuits there are. */
  count(): number {
    let singles = 0
    for (const group of this.groups.values()) {
      if (group.single !== undefined) singles++
      if (group.overflow !== undefined) singles++
    }
    return singles + this.size
  }

  /** The circuit of a name and key, if there is one. */
  peek(name: string, key: string | undefined): LiveCircuit | undefined {
    const group = this.groups.get(name)
    return key === undefined ? group?.single : group?.keyed?.get(key)
  }

  *all(): Generator<LiveCircuit> {
    for (const group of this.groups.values()) {
      if (group.single !== undefined) yield group.single
      if (group.keyed !== undefined) yield* group.keyed.values()
      if (group.overflow !== undefined) yield group.overflow
    }
  }

  /**
   * The first circuit on which `circuit` depends, however far, that lets no call through: by its state, or because of one
   * that it depends on itself. One whose cooldown is over lets a probe through, or nobody could ever close it.
   */
  blocking(
    circuit: LiveCircuit,
    now: number,
    seen: ReadonlySet<string> = new Set([circuit.group.name])
  ): LiveCircuit | undefined {
    for (const name of circuit.policy.dependsOn) {
      if (seen.has(name)) continue
      for (const other of this.dependencies(name, circuit.key)) {
        if (other.policy.mode === "observe" || other.policy.enabled === false) continue
        const control = Circuit.expire(other.control.value, now)
        if (control._tag === "Disabled") continue
        if (control._tag === "Isolated" || (control._tag === "Open" && now < control.until)) return other
        const deeper = this.blocking(other, now, new Set([...seen, name]))
        if (deeper !== undefined) return deeper
      }
    }
    return undefined
  }

  /** The control states that {@link blocking} reads directly, for a transaction. */
  dependencyRefs(circuit: LiveCircuit): ReadonlyArray<TxRef.TxRef<Circuit.Circuit>> {
    return circuit.policy.dependsOn.flatMap((name) =>
      this.dependencies(name, circuit.key).map((other) => other.control)
    )
  }

  private dependencies(name: string, key: string | undefined): ReadonlyArray<LiveCircuit> {
    const single = this.peek(name, undefined)
    const keyed = key === undefined ? undefined : this.peek(name, key)
    return [single, keyed].filter((circuit) => circuit !== undefined)
  }

  /**
   * Moves a circuit, in a transaction, to what `next` makes of its state; nothing happens if that is the same state. A
   * new era clears what was counted in the old one, is announced and logged, and starts or stops the health check.
   */
  move(
    circuit: LiveCircuit,
    why: Circuit.Why,
    next: (current: Circuit.Circuit) => Circuit.Circuit,
    about: { readonly detail?: string | undefined; readonly actor?: string | undefined } = {},
    reads: ReadonlyArray<TxRef.TxRef<Circuit.Circuit>> = []
  ): Effect.Effect<Moved | undefined> {
    const modify = TxRef.modify(circuit.control, (from): [Moved | undefined, Circuit.Circuit] => {
      const to = next(from)
      return [to === from ? undefined : { from, to }, to]
    })
    const transaction =
      reads.length === 0
        ? modify
        : Effect.tx(Effect.andThen(Effect.forEach(reads, TxRef.get, { discard: true }), modify))
    // Nothing may come between the commit and what follows from it.
    return Effect.uninterruptible(
      Effect.flatMap(transaction, (moved) => {
        if (moved === undefined || moved.from.era === moved.to.era) return Effect.succeed(moved)
        return Effect.as(this.moved(circuit, moved, why, about), moved)
      })
    )
  }

  private moved(
    circuit: LiveCircuit,
    { from, to }: Moved,
    why: Circuit.Why,
    about: { readonly detail?: string | undefined; readonly actor?: string | undefined }
  ): Effect.Effect<void> {
    if (!Circuit.isLegal(from._tag, to._tag, why)) {
      return Effect.die(
        new Error(`effect-fuse: illegal move of "${circuit.group.name}" from ${from._tag} to ${to._tag} (${why})`)
      )
    }
    const now = this.time.now()
    const at = this.time.wall()
    circuit.movedAt = at
    circuit.evidence.clear()
    // The first call after a close passes, whatever the ramp's share.
    circuit.rampCredit = 1
    if (circuit === circuit.group.single) circuit.group.forced = Circuit.isForced(to)
    const wait = to._tag === "Open" || to._tag === "Isolated" ? Circuit.retryAfter(to, now) : 0
    const event: BreakerEvent = {
      _tag: "Transition",
      circuit: circuit.group.name,
      ...(circuit.key === undefined ? {} : { key: circuit.key }),
      from: from._tag,
      to: to._tag,
      why,
      at,
      era: to.era,
      openings: Circuit.openings(to, now),
      retryAfterMillis: wait === Infinity ? null : wait,
      ...(about.detail === undefined ? {} : { detail: about.detail }),
      ...(about.actor === undefined ? {} : { actor: about.actor }),
      scope: "local",
      mode: circuit.policy.mode
    }
    this.watch(circuit, to)
    return this.announce(event)
  }

  announce(event: BreakerEvent): Effect.Effect<void> {
    return Effect.andThen(PubSub.publish(this.events, event), logEvent(event))
  }

  /** Opens a circuit that is still in the era in which its trip was decided, for as long as its policy says. */
  open(
    circuit: LiveCircuit,
    era: number,
    cause: Circuit.Cause,
    next: (
      current: Circuit.Circuit,
      now: number,
      options: { readonly openFor: number; readonly cause: Circuit.Cause }
    ) => Circuit.Circuit
  ): Effect.Effect<Moved | undefined> {
    return Effect.flatMap(this.cooldown(circuit), (millis) =>
      this.move(
        circuit,
        cause.why,
        (current) => (current.era === era ? next(current, this.time.now(), { openFor: millis, cause }) : current),
        cause
      )
    )
  }

  /** How long the next opening of a circuit lasts. */
  cooldown(circuit: LiveCircuit): Effect.Effect<number> {
    const now = this.time.now()
    const opening = Circuit.openings(circuit.control.value, now) + 1
    const hint = Math.max(0, circuit.evidence.hintUntil - now)
    return Effect.catchCause(openFor(circuit.policy, opening, hint), (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.as(
            Effect.logError("The cooldown schedule of a circuit failed; maxCooldown is used", cause),
            circuit.policy.maxCooldownMillis
          )
    )
  }

  /** Runs the policy's health check while the circuit is Open or HalfOpen. */
  private watch(circuit: LiveCircuit, to: Circuit.Circuit): void {
    const { probe, probeTimeoutMillis } = circuit.policy
    const down = to._tag === "Open" || to._tag === "HalfOpen"
    if (!down || probe === undefined) {
      circuit.stopProbe?.()
      circuit.stopProbe = undefined
      return
    }
    if (circuit.stopProbe !== undefined) return
    const check = Effect.suspend(() => {
      const { era } = circuit.control.value
      return Effect.flatMap(Effect.exit(Effect.timeout(probe.check, probeTimeoutMillis)), (exit) =>
        exit._tag === "Failure"
          ? Effect.void
          : this.move(circuit, "HealthCheckPassed", (current) =>
              current.era === era && (current._tag === "Open" || current._tag === "HalfOpen")
                ? Circuit.close(current, this.time.now(), circuit.policy)
                : current
            )
      )
    })
    const fiber = this.background(Effect.schedule(check, probe.schedule))
    circuit.stopProbe = () => fiber.interruptUnsafe()
  }

  private accept(name: string, policies: Policies, inline: Partial<Policy> | undefined): NamedGroup {
    const configured = policies.get(name)
    const policy: Policy = inline === undefined ? configured : { ...configured, ...inline }
    const group = this.groups.get(name)
    if (group === undefined) {
      const made: NamedGroup = {
        ...newGroup(name, policy),
        accepted: [{ policies, inline, version: policies.version }]
      }
      this.groups.set(name, made)
      return made
    }
    if (group.accepted.length === 0) group.policy = policy
    const at = group.accepted.findIndex((one) => one.policies === policies && one.inline === inline)
    const known = group.accepted[at]
    if (known !== undefined && known.version !== policies.version) {
      // The same policies say something new: a reload.
      if (!Equal.equals(group.policy, policy)) group.policy = policy
      known.version = policies.version
    } else if (known === undefined) {
      const differing = differingFields(group.policy, policy)
      if (differing.length > 0) {
        throw new Error(
          `Two policies for the circuit "${name}" in one store: they differ in ${differing.join(", ")}. ` +
            "Give it one policy, in BreakerPolicy.layer or as one shared constant, or use another name."
        )
      }
    }
    // The latest first: it is the one that the next call most likely comes with.
    if (at >= 0) group.accepted.splice(at, 1)
    else if (group.accepted.length >= 8) group.accepted.pop()
    group.accepted.unshift({ policies, inline, version: policies.version })
    return group
  }

  private makeSingle(group: Group): LiveCircuit {
    group.single = new LiveCircuit(group, undefined)
    return group.single
  }

  private makeKeyed(group: Group, key: string): LiveCircuit {
    if (key.length > maxKeyLength || (this.size >= this.maxCircuits && !this.evict())) {
      this.overflowed++
      group.overflow ??= new LiveCircuit(group, overflowKey)
      return group.overflow
    }
    const circuit = new LiveCircuit(group, key)
    group.keyed ??= new Map()
    group.keyed.set(key, circuit)
    this.size++
    if (this.hand === undefined) {
      circuit.next = circuit.previous = circuit
      this.hand = circuit
    } else {
      const last = this.hand.previous ?? this.hand
      circuit.next = this.hand
      circuit.previous = last
      last.next = circuit
      this.hand.previous = circuit
    }
    return circuit
  }

  /**
   * Makes room for one circuit, by forgetting one that is idle: of the next few in the ring the first that was not called
   * since the ring last came round, or else the first that is idle at all. Calls keep no order of use for this.
   */
  private evict(): boolean {
    const now = this.time.now()
    let idle: LiveCircuit | undefined
    let candidate = this.hand
    for (let step = 0; step < evictionSteps && candidate !== undefined; step++) {
      const circuit = candidate
      candidate = circuit.next
      const untouched = circuit.callsWhenPassed === circuit.calls
      circuit.callsWhenPassed = circuit.calls
      if ((untouched || idle === undefined) && circuit.isIdle(now)) {
        idle = circuit
        if (untouched) break
      }
      if (candidate === this.hand) break
    }
    this.hand = candidate
    if (idle === undefined) return false
    this.forget(idle)
    return true
  }

  private forget(circuit: LiveCircuit): void {
    const { next, previous } = circuit
    if (next === circuit || next === undefined || previous === undefined) this.hand = undefined
    else {
      previous.next = next
      next.previous = previous
      if (this.hand === circuit) this.hand = next
    }
    if (circuit.key !== undefined) circuit.group.keyed?.delete(circuit.key)
    this.size--
    this.evicted++
  }
}

const newGroup = (name: string, policy: Policy): Group => ({
  name,
  policy,
  single: undefined,
  keyed: undefined,
  overflow: undefined,
  forced: false
})

/** What the circuit that many keys share is called. */
export const overflowKey = "(overflow)"

/** The key of a tenant's circuit. Escaping keeps the first slash the border, so that no two pairs meet. */
export const tenantKey = (tenant: string, key: string | undefined): string =>
  key === undefined ? tenant : `${tenant.replaceAll("%", "%25").replaceAll("/", "%2F")}/${key}`

const differingFields = (a: Policy, b: Policy): ReadonlyArray<string> =>
  (Object.keys(a) as Array<keyof Policy>).filter((field) => !Equal.equals(a[field], b[field]))
