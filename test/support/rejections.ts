import { Duration } from "effect"
import { BulkheadFull, type CircuitOpen } from "effect-fuse"

export const full = BulkheadFull.make({ bulkhead: "b", concurrency: 1, queue: 0 })

/** The fields of a rejection by an open circuit, without the optional ones. */
export const plain: CircuitOpen.Fields = {
  circuit: "api",
  state: "Open",
  reason: "Cooldown",
  retryAfter: Duration.seconds(3),
  openings: 1
}
