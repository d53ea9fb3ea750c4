/** The state after all faults: healthy circuits, a clean store, and heaps that have not grown. */
import type { Check } from "./check.ts"

export const recovery: Check = {
  name: "afterwards all circuits are Closed, and the store has no process that is gone",
  find: ({ notWell }) => notWell
}

const growth = 1.3
const slack = 4_000_000

/** The heap is checked only in lives with at least this number of measurements. */
const longEnough = 10

export const heap: Check = {
  name: "the heap of no worker grows without bound",
  find: ({ lives }) =>
    lives.flatMap(({ life, of }) => {
      const bytes = of("heap").map(({ bytes }) => bytes)
      if (bytes.length < longEnough) return []
      const third = Math.floor(bytes.length / 3)
      const [early, late] = [Math.min(...bytes.slice(0, third)), Math.min(...bytes.slice(-third))]
      return late > early * growth + slack
        ? [`${life.voice}: ${Math.round(early / 1_000)} kB early, ${Math.round(late / 1_000)} kB late`]
        : []
    })
}
