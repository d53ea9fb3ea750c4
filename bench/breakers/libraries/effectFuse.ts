import { createBreaker, trip } from "effect-fuse/promise"
import { ignoring, type Library, longMillis, never, pause, recoveries, Switch } from "../library.ts"

export const library: Library = {
  name: "effect-fuse/promise",
  protect: (fn, { timeout }) => {
    const breaker = createBreaker(fn, timeout ? {} : { timeout: false })
    return () => breaker.execute()
  },
  open: async () => {
    const breaker = createBreaker(() => Promise.reject("down"), { trip: trip.consecutive(1), cooldown: longMillis })
    await ignoring(breaker.execute())
    return () => breaker.execute()
  },
  recovery: () => {
    const dependency = new Switch()
    const breakers = Array.from({ length: recoveries }, () =>
      createBreaker(dependency.call, { trip: trip.consecutive(1), cooldown: 1 })
    )
    return {
      open: async () => {
        dependency.isDown = true
        for (const breaker of breakers) await ignoring(breaker.execute())
        dependency.isDown = false
        await pause(5)
      },
      calls: breakers.map((breaker) => () => breaker.execute()),
      probes: 1,
      closed: () => breakers.filter(({ state }) => state === "Closed").length
    }
  },
  probing: async () => {
    const dependency = new Switch()
    const breaker = createBreaker(dependency.call, {
      timeout: false,
      trip: trip.consecutive(1),
      cooldown: 1,
      probeTimeout: longMillis
    })
    dependency.isDown = true
    await ignoring(breaker.execute())
    await pause(5)
    void breaker.run(never)
    return () => breaker.execute()
  }
}
