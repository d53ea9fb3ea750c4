/** A pool has three equal replicas. Each call goes to the next replica, but the pool skips replicas with an open circuit. */
import { Effect, Logger } from "effect"
import { BreakerStore, CircuitPool, Trip } from "effect-fuse"

const replicas = CircuitPool.make("replicas", {
  members: { eu: "eu.db.example", us: "us.db.example", asia: "asia.db.example" },
  choose: "roundRobin",
  policy: { trip: Trip.consecutive(1), cooldown: "1 minute" }
})

const down = new Set(["us.db.example"])
const query = CircuitPool.call(replicas, (host) =>
  down.has(host) ? Effect.fail(`${host} is down`) : Effect.succeed(`answered by ${host}`)
)
const look = Effect.map(CircuitPool.health(replicas), ({ circuits, healthy, total }) => {
  const states = circuits.map(({ key, state }) => `${key} ${state}`).join(", ")
  return `${healthy} of ${total} healthy: ${states}`
})

const program = Effect.gen(function* () {
  // The first call of the broken replica fails, and no other call is sent there.
  for (let i = 0; i < 5; i++) console.log(yield* Effect.catch(query, (error) => Effect.succeed(String(error))))
  console.log(yield* look)
  down.clear()
  yield* CircuitPool.resetAll(replicas, { reason: "the host was replaced", actor: "ann" })
  console.log(yield* look)
})

await Effect.runPromise(program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([]))))
