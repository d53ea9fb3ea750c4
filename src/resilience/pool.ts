import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { callerOf, find, guardAt, type Subject } from "../breaker/protect.ts"
import * as Outcome from "../core/Outcome.ts"
import { answer, enforced } from "../engine/answer.ts"
import { type Classify, defaultOutcome, hintMillis, isOutcome } from "../engine/classify.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import type { Policy } from "../policy/policy.ts"
import { type CircuitOpen, isCircuitOpen } from "../shapes/CircuitOpen.ts"
import type { CallEnd } from "./comparison.ts"
import type { Copies } from "./copies.ts"
import type { Member, PoolMembers, PoolState } from "./members.ts"

export type Choose = "fastest" | "leastBusy" | "roundRobin" | "inOrder"

export interface Pool {
  readonly name: string
  readonly choose: Choose
  readonly policy: Partial<Policy> | undefined
  readonly members: PoolMembers
}

export type MemberCall = Pick<Subject, "classify" | "waits">

export type Run = (value: unknown, name: string) => Effect.Effect<unknown, unknown>

/** The pool checks all circuits again after this time, or after `lookPicks` calls plus one call for each member. */
const lookMillis = 1_000
const lookPicks = 16

/** A stall of the process takes at least this long. */
const leastStallMillis = 100

const sooner = (a: CircuitOpen | undefined, b: CircuitOpen): CircuitOpen =>
  a !== undefined && Duration.toMillis(a.retryAfter) <= Duration.toMillis(b.retryAfter) ? a : b

const rejectionIn = ({ reasons }: Cause.Cause<unknown>): CircuitOpen | undefined => {
  for (const reason of reasons) if (reason._tag === "Fail" && isCircuitOpen(reason.error)) return reason.error
  return undefined
}

/** Calls one member. If a circuit rejects the call before it begins, the next member gets it. */
export const callOne = (pool: Pool, reading: MemberCall, f: Run): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => new PoolCall(fiber, pool, reading, f).begin())

/** Calls the member with this name. The caller has checked that the member exists. */
export const callNamed = (pool: Pool, name: string, reading: MemberCall, f: Run): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => new PoolCall(fiber, pool, reading, f).beginWith(name))

/** One call of a pool: it chooses a member, and calls it under the member's circuit. */
class PoolCall {
  // `declare` emits no field definition, which saves time for each call.
  declare private readonly fiber: Fiber.Fiber<unknown, unknown>
  declare private readonly registry: Registry
  declare private readonly caller: Caller
  declare private readonly pool: Pool
  declare private readonly state: PoolState
  declare private readonly reading: MemberCall
  declare private readonly f: Run
  declare private readonly copies: Copies | undefined
  /** When the call began, or was last rejected. */
  declare private now: number
  /** The circuits of these members have rejected this call. `undefined` before the first rejection. */
  declare private tried: Array<Member> | undefined
  // The state of the call to `member`. If that call has begun, the pool does not call another member.
  declare private member: Member
  declare private began: boolean
  declare private trial: boolean
  declare private took: number
  /** The outcome by the caller's classifier; `undefined` before it has returned one, or without a classifier. */
  declare private outcome: Outcome.Outcome | undefined
  declare private isAsking: boolean

  constructor(fiber: Fiber.Fiber<unknown, unknown>, pool: Pool, reading: MemberCall, f: Run) {
    const caller = callerOf(fiber)
    const { registry } = caller
    this.fiber = fiber
    this.registry = registry
    this.caller = caller
    this.pool = pool
    this.state = pool.members.stateOf(pool, registry)
    this.reading = reading
    this.f = f
    this.copies = this.state.copiesOf(caller, fiber.context)
    this.now = registry.runtime.time.now()
    this.tried = undefined
    this.member = this.state.members[0] as Member
    this.began = false
    this.trial = false
    this.took = 0
    this.outcome = undefined
    this.isAsking = false
  }

  begin(): Effect.Effect<unknown, unknown> {
    const member = this.pick()
    return member === undefined ? this.next(undefined) : this.run(member)
  }

  beginWith(name: string): Effect.Effect<unknown, unknown> {
    const member = this.state.members.find((one) => one.name === name) as Member
    return this.guarded(member)
  }

  // ---- The circuits ---------------------------------------------------------------------------------------------------

  private circuitOf({ circuit }: Member): LiveCircuit {
    return find(circuit, this.caller)
  }

  /** Whether the circuit of a member would let a call through. In mode `observe`, the circuit decides as in mode `enforce`. */
  private lets(member: Member): boolean {
    return enforced(this.registry, this.circuitOf(member), this.now)._tag !== "Reject"
  }

  /** Milliseconds until the circuit of a member lets a call through. */
  private wait(member: Member): number {
    const answered = answer(this.registry, this.circuitOf(member), this.now)
    return answered._tag === "Reject" ? answered.wait : 0
  }

  // ---- The choice -----------------------------------------------------------------------------------------------------

  /** A member whose circuit lets calls through, and that no other copy of this call has called; `undefined` if there is no such member. */
  private pick(): Member | undefined {
    const { choose } = this.pool
    const { lastIndex, members, weighted } = this.state
    if (choose === "fastest") return this.fastest()
    if (choose === "leastBusy") return this.least(lastIndex + 1)
    if (choose === "roundRobin" && weighted) return this.weighted()
    const start = choose === "inOrder" ? 0 : lastIndex + 1
    for (let i = 0; i < members.length; i++) {
      const member = members[(start + i) % members.length] as Member
      if (!this.isTaken(member) && this.lets(member)) return member
    }
    return undefined
  }

  private isTaken(member: Member): boolean {
    return this.copies?.called.includes(member) === true
  }

  private least(start: number): Member | undefined {
    const { members } = this.state
    let best: Member | undefined
    let lowest = Infinity
    for (let i = 0; i < members.length; i++) {
      const member = members[(start + i) % members.length] as Member
      const ranked = this.rank(member)
      if (ranked >= lowest || this.isTaken(member) || !this.lets(member)) continue
      best = member
      lowest = ranked
    }
    return best
  }

  /** The smooth weighted round robin: members of weight 2 and 1 get the calls in the order A B A. */
  private weighted(): Member | undefined {
    let best: Member | undefined
    let total = 0
    for (const member of this.state.members) {
      if (this.isTaken(member) || !this.lets(member)) continue
      member.credit += member.weight
      total += member.weight
      if (best === undefined || member.credit > best.credit) best = member
    }
    if (best !== undefined) best.credit -= total
    return best
  }

  private fastest(): Member | undefined {
    const { state, now } = this
    if (++state.picks > lookPicks + state.members.length || now - state.lookedAt >= lookMillis) {
      const due = this.look()
      if (due !== undefined) return due
    }
    const first = this.better()
    if (first !== undefined && !this.isTaken(first) && this.lets(first)) return first
    // A circuit has opened, or another copy of the call has taken the member.
    return this.look() ?? this.least(Math.floor(this.random() * state.members.length))
  }

  private random(): number {
    return this.fiber.getRef(Random.Random).nextDoubleUnsafe()
  }

  /** A lower rank is better. */
  private rank(member: Member): number {
    const { comparison, sound } = this.state
    if (this.pool.choose === "leastBusy") return member.busy / member.weight
    return sound.includes(member) ? comparison.score(member, this.now) : Number.MAX_VALUE
  }

  /** The better one of two random sound members. */
  private better(): Member | undefined {
    const { comparison, sound } = this.state
    const others = sound.length - 1
    if (others < 1) return sound[0]
    const drawn = Math.floor(this.random() * sound.length * others)
    const i = Math.floor(drawn / others)
    const j = drawn % others
    const one = sound[i] as Member
    const other = sound[j < i ? j : j + 1] as Member
    return comparison.score(other, this.now) < comparison.score(one, this.now) ? other : one
  }

  /**
   * Checks all circuits, and updates the list of sound members. Returns a member that this call should try, if any: a member whose circuit
   * needs a probe, or a member that was left out for long enough.
   */
  private look(): Member | undefined {
    const { now, state } = this
    const { comparison, members } = state
    state.picks = 0
    state.lookedAt = now
    comparison.update(members)
    let due: Member | undefined
    const letting: Array<Member> = []
    for (const member of members) {
      const answered = enforced(this.registry, this.circuitOf(member), now)
      if (answered._tag === "Reject") continue
      letting.push(member)
      const isProbe = answered._tag === "Admit" && answered.as === "Probe"
      if (due === undefined && !this.isTaken(member) && (isProbe || comparison.isDue(member, now))) due = member
    }
    const sound = letting.filter(({ leftOut }) => leftOut === undefined)
    // If fewer than half of the members were sound, they would receive more calls than they can handle.
    state.sound = sound.length * 2 >= members.length ? sound : letting
    return due
  }

  /** Calls another member after a rejection, or if `pick` found none. If all circuits reject, calls the member with the shortest wait. */
  private next(rejected: CircuitOpen | undefined): Effect.Effect<unknown, unknown> {
    const { tried } = this
    this.now = this.registry.runtime.time.now()
    const { lastIndex, members } = this.state
    const start = this.pool.choose === "inOrder" ? 0 : lastIndex + 1
    const left = members
      .map((_, i) => members[(start + i) % members.length] as Member)
      .filter((member) => tried?.includes(member) !== true)
    const best =
      this.bestOf(left.filter((member) => this.lets(member))) ?? left.find((member) => this.wait(member) === 0)
    if (best !== undefined) return this.run(best, rejected)
    if (rejected !== undefined) return Effect.fail(rejected)
    return this.run(left.reduce((soonest, one) => (this.wait(one) < this.wait(soonest) ? one : soonest)))
  }

  private bestOf(letting: ReadonlyArray<Member>): Member | undefined {
    const { choose } = this.pool
    if (choose === "inOrder" || choose === "roundRobin") return letting[0]
    return letting.reduce<Member | undefined>(
      (best, one) => (best && this.rank(best) <= this.rank(one) ? best : one),
      undefined
    )
  }

  // ---- The call -------------------------------------------------------------------------------------------------------

  /** Calls a member. If its circuit rejects the call, the next member gets it. */
  private run(member: Member, rejected?: CircuitOpen): Effect.Effect<unknown, unknown> {
    return Effect.catchCause(this.guarded(member), (cause) => {
      const open = this.began ? undefined : rejectionIn(cause)
      if (open === undefined) return Effect.failCause(cause)
      this.tried ??= []
      this.tried.push(member)
      return this.next(sooner(rejected, open))
    })
  }

  private guarded(member: Member): Effect.Effect<unknown, unknown> {
    this.member = member
    const { caller, fiber, pool, reading } = this
    const how =
      pool.choose === "fastest" && reading.classify !== undefined
        ? { classify: (exit: Exit.Exit<unknown, unknown>) => this.classify(exit), waits: reading.waits }
        : reading
    const self = Effect.suspend(() => this.start())
    return guardAt(fiber, caller, this.circuitOf(member), self, how, (exit) => this.ended(exit))
  }

  /** The circuit has admitted the call. */
  private start(): Effect.Effect<unknown, unknown> {
    const { copies, member, state } = this
    this.began = true
    this.trial = state.comparison.began(member, this.now)
    state.last = member
    state.lastIndex = member.index
    copies?.called.push(member)
    return this.f(member.value, member.name)
  }

  private ended(exit: Exit.Exit<unknown, unknown>): void {
    if (!this.began) return
    this.member.busy--
    if (this.pool.choose !== "fastest") return
    const { loop, time } = this.registry.runtime
    const now = time.now()
    this.took = now - this.now
    if (this.took >= leastStallMillis) this.took -= loop.stalledBetween(this.now, now)
    if (!this.isAsking) this.rate(this.outcome ?? defaultOutcome(exit), exit, now)
  }

  /** Runs the caller's classifier for the circuit, and keeps its outcome for the comparison. */
  private classify(exit: Exit.Exit<unknown, unknown>): ReturnType<Classify> {
    const read = this.reading.classify?.(exit) ?? defaultOutcome(exit)
    if (!Effect.isEffect(read)) {
      this.outcome = isOutcome(read) ? read : undefined
      return read
    }
    this.isAsking = true
    const { time } = this.registry.runtime
    return Effect.onExit(read, (asked) =>
      Effect.sync(() => {
        const outcome = asked._tag === "Success" && isOutcome(asked.value) ? asked.value : Outcome.ignored
        this.rate(outcome, exit, time.now())
      })
    )
  }

  private rate(outcome: Outcome.Outcome, exit: Exit.Exit<unknown, unknown>, now: number): void {
    const { member, state, took, trial } = this
    state.comparison.ended(member, state.members, took, this.endOf(outcome, exit), now, trial)
  }

  private endOf(outcome: Outcome.Outcome, exit: Exit.Exit<unknown, unknown>): CallEnd {
    if (exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause)) return interrupted
    if (outcome._tag !== "Failure") return outcome
    const { loop, time } = this.registry.runtime
    // A failure that may be due to a stall of the process says nothing about the member.
    if (loop.excuses(this.now, this.now + this.took)) return ignored
    return { _tag: "Failure", retryAfter: hintMillis(outcome, exit, time) }
  }
}

const interrupted: CallEnd = { _tag: "Interrupted" }
const ignored: CallEnd = { _tag: "Ignored" }
