/** Breakers for code without Effect: functions that return promises, a signal, a fallback, metrics and events. */
import { CircuitOpenError, createManager, trip } from "effect-fuse/promise"

let down = false
const manager = createManager({ defaults: { timeout: "1 second", cooldown: "500 millis" } })

const users = manager.register(
  "users",
  async (id: number) => {
    if (down) throw new Error("connection refused")
    return `user ${id}`
  },
  { trip: trip.consecutive(2) }
)
const avatars = manager.register(
  "avatars",
  async function (id: number) {
    // `this.signal` is aborted when the caller no longer waits for the call. Pass it to `fetch`.
    return this.signal.aborted ? "" : `avatar ${id}`
  },
  { fallback: (_, id) => `initials of ${id}` }
)

users.on("transition", ({ from, name, to }) => console.log(`${name}: ${from} -> ${to}`))

const ask = (id: number) =>
  users
    .execute(id)
    .catch((error) => (error instanceof CircuitOpenError ? `not now (${error.code})` : `failed: ${error.message}`))

console.log(await ask(1))
down = true
for (let i = 0; i < 3; i++) console.log(await ask(2))

down = false
await new Promise((resolve) => setTimeout(resolve, 600))
console.log(await ask(3))

await avatars.isolate({ reason: "maintenance" })
console.log(await avatars.execute(4))

const gone = new AbortController()
gone.abort(new Error("the user left"))
console.log(
  await users
    .with({ signal: gone.signal })
    .execute(5)
    .catch((error) => error.message)
)

const { calls, circuits, failures, rejected } = manager.aggregateMetrics()
console.log(`${circuits} circuits, ${calls} calls, ${failures} failed, ${rejected} rejected`)
await manager.shutdown()
