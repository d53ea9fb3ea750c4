/** A stream during an outage: it stops pulling, keeps the current element, and continues by itself. */
import { Effect, Logger, pipe, Schedule, Stream } from "effect"
import { BreakerStore, Trip } from "effect-fuse"
import { StreamBreaker } from "effect-fuse/queue"

let calls = 0
let pulled = 0

/** Fails from the third call to the fifth. */
const save = (n: number) =>
  Effect.suspend(() => {
    calls++
    return calls >= 3 && calls <= 5 ? Effect.fail("down") : Effect.succeed(`saved ${n}`)
  })

const program = pipe(
  Stream.range(1, 5),
  Stream.rechunk(1),
  Stream.tap(() => Effect.sync(() => pulled++)),
  StreamBreaker.mapEffect("database", save, {
    policy: { trip: Trip.consecutive(2), cooldown: "100 millis" },
    retry: { times: 10, schedule: Schedule.spaced("10 millis") }
  }),
  Stream.runForEach((line) => Effect.sync(() => console.log(`${line} (${pulled} pulled)`)))
)

await Effect.runPromise(program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([]))))
console.log(`${calls} calls`)
