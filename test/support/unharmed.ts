import { assert } from "@effect/vitest"
import { type Duration, Effect, Fiber } from "effect"
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

/** What each of them says reaches all, and they open together. */
export const areTogether = (replicas: ReadonlyArray<Replica>, circuit: string) =>
  Effect.gen(function* () {
    for (const [i, one] of replicas.entries()) {
      yield* one.run(CircuitBreaker.isolate(`${circuit} ${i}`))
      yield* standsAt(replicas, "Isolated (fleet)", { circuit: `${circuit} ${i}` })
    }
    for (const one of replicas) yield* works(one, { circuit })
    yield* trip(replicas, { circuit })
  })
