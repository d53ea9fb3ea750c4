import { assert } from "@effect/vitest"
import { type Duration, Effect, Fiber, Option } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { fails, outcome, type Replica, standsAt, trip, works } from "./redisFleet.ts"

/** Waits for a second, whatever it is that cannot be interrupted. */
export const impatient = <A, E>(self: Effect.Effect<A, E>, duration: Duration.Input = "1 second") =>
  Effect.flatMap(Effect.forkDetach(self), (fiber) =>
    Effect.timeoutOrElse(Fiber.join(fiber), { duration, orElse: () => Effect.succeed("late" as const) })
  )

/** Calls get what they would get without a store and as soon, and the circuit of who sees failures opens. */
export const isUnharmed = (one: Replica, other: Replica, circuit: string) =>
  Effect.gen(function* () {
    for (let i = 0; i < 20; i++) {
      assert.strictEqual(yield* impatient(works(one, { circuit })), "ok")
      assert.strictEqual(yield* impatient(works(other, { circuit })), "ok")
    }
    assert.strictEqual(yield* impatient(one.run(outcome(CircuitBreaker.protect(Effect.die("bug"), circuit)))), "died")
    for (let i = 0; i < 4; i++) assert.strictEqual(yield* impatient(fails(one, { circuit })), "down")
    assert.strictEqual(yield* impatient(works(one, { circuit })), "Cooldown (local)")
    assert.strictEqual(yield* impatient(works(other, { circuit })), "ok")
  })

/** What is forced while nobody can be told holds here at once. */
export const force = (one: Replica, circuit: string) =>
  Effect.gen(function* () {
    assert.strictEqual(yield* impatient(Effect.as(one.run(CircuitBreaker.isolate(circuit)), "forced")), "forced")
    assert.strictEqual(yield* impatient(works(one, { circuit })), "Isolated (local)")
  })

/** What one of them forces holds in all. */
const areForced = (replicas: ReadonlyArray<Replica>, circuit: string) =>
  Effect.gen(function* () {
    for (const [i, one] of replicas.entries()) {
      yield* one.run(CircuitBreaker.isolate(`${circuit} ${i}`))
      yield* standsAt(replicas, "Isolated (fleet)", { circuit: `${circuit} ${i}` })
    }
  })

/** What each of them says reaches all, and they open together. */
export const areTogether = (replicas: ReadonlyArray<Replica>, circuit: string) =>
  Effect.gen(function* () {
    yield* areForced(replicas, circuit)
    for (const one of replicas) yield* works(one, { circuit })
    yield* trip(replicas, { circuit })
  })

/**
 * The same with a store whose answers take much of the time that they may take. If the machine stalls, a process may miss them: it
 * then opens alone, and what it saw without a store is not told later. Another circuit is tried in that case.
 */
export const areTogetherInTheEnd = (replicas: ReadonlyArray<Replica>, circuit: string) =>
  Effect.gen(function* () {
    yield* areForced(replicas, circuit)
    for (let i = 0; i < 4; i++) {
      const call = { circuit: `${circuit} tried ${i}` }
      for (const one of replicas) yield* works(one, call)
      if (Option.isSome(yield* Effect.timeoutOption(trip(replicas, call), "10 seconds"))) return
    }
    assert.fail("no circuit opened for all replicas")
  })
