import * as Context from "effect/Context"
import type { CircuitRef } from "../breaker/protect.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import type { Policy } from "../policy/policy.ts"
import { Comparison, Rating } from "./comparison.ts"
import { type Copies, CurrentCopies } from "./copies.ts"

/** A member as the caller declared it. */
export interface Declared {
  readonly name: string
  readonly value: unknown
  readonly weight: number
}

/** The name and the policy of a pool. */
export interface Named {
  readonly name: string
  readonly policy: Partial<Policy> | undefined
}

/** One member in one store. It keeps its counts while other members come and go. */
export class Member extends Rating {
  readonly name: string
  readonly circuit: CircuitRef
  value: unknown
  /** The position in the list; -1 after the member has left the pool. */
  index = -1
  /** For a weighted round robin: the member with the highest credit is next. */
  credit = 0

  constructor(pool: Named, { name, value, weight }: Declared) {
    super(weight)
    this.name = name
    this.circuit = { name: pool.name, key: name, inline: pool.policy, registry: undefined, circuit: undefined }
    this.value = value
  }
}

/** The members of a pool in one store. Each store has its own circuits, clock and calls. */
export class PoolState {
  members: ReadonlyArray<Member> = []
  readonly comparison = new Comparison()
  /** The declaration of the current `members`. */
  private declared: ReadonlyArray<Declared> | undefined = undefined
  weighted = false
  /** The member of the last call. */
  last: Member | undefined = undefined
  /** The index of `last`; -1 before the first call. */
  lastIndex = -1

  // For `fastest`.
  /** The members that are not left out and whose circuits let calls through, at `lookedAt`. */
  sound: ReadonlyArray<Member> = []
  lookedAt = Number.NEGATIVE_INFINITY
  picks = 0

  /** The latest caller outside any hedged call. Most calls have the same caller, so that the context need not be read again. */
  private alone: Caller | undefined = undefined

  /** The hedged call around a call; `undefined` if there is none. */
  copiesOf(caller: Caller, context: Context.Context<never>): Copies | undefined {
    if (caller === this.alone) return undefined
    const copies = Context.get(context, CurrentCopies)
    // A call inside another call always has a new caller, so a cache of that caller would not help.
    if (copies === undefined && caller.inside === undefined) this.alone = caller
    return copies
  }

  /** Replaces the list of members. Calls in flight of a removed member end as usual. */
  follow(pool: Named, declared: ReadonlyArray<Declared>): void {
    if (declared === this.declared) return
    this.declared = declared
    const known = new Map(this.members.map((one) => [one.name, one]))
    for (const one of this.members) one.index = -1
    this.members = declared.map((one, index) => {
      const member = known.get(one.name) ?? new Member(pool, one)
      member.value = one.value
      member.weight = one.weight
      member.index = index
      return member
    })
    this.weighted = declared.some(({ weight }) => weight !== declared[0]?.weight)
    this.lastIndex = this.last?.index ?? -1
    this.lookedAt = Number.NEGATIVE_INFINITY
  }
}

/** The current members of a pool, and their state in each store. */
export class PoolMembers {
  declared: ReadonlyArray<Declared>
  private readonly states = new WeakMap<Registry, PoolState>()

  constructor(declared: ReadonlyArray<Declared>) {
    this.declared = declared
  }

  stateOf(pool: Named, registry: Registry): PoolState {
    const state = this.states.get(registry) ?? this.newState(registry)
    state.follow(pool, this.declared)
    return state
  }

  private newState(registry: Registry): PoolState {
    const state = new PoolState()
    this.states.set(registry, state)
    return state
  }
}
