/** Processes many items through one circuit. It opens midway; the remaining items are kept for later, and none is lost. */
import { Effect, Exit, Logger } from "effect"
import { BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

const rows = ["a", "b", "c", "d", "e", "f"]
const kept: Array<string> = []

// The disk is full after two rows.
let written = 0
const write = (row: string) => (written++ < 2 ? Effect.succeed(`wrote ${row}`) : Effect.fail("disk full"))

const program = CircuitBreaker.forEach(rows, write, {
  name: "disk",
  policy: { trip: Trip.consecutive(2) },
  onOpen: (row) => Effect.sync(() => `kept ${kept.push(row)}`)
})

const ends = await Effect.runPromise(
  program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([])))
)
ends.forEach((end, i) => {
  console.log(`${rows[i]}: ${Exit.isSuccess(end) ? end.value : "disk full"}`)
})
console.log(`${written} calls, for later: ${kept.join(" ")}`)
