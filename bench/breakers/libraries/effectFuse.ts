import { createBreaker, trip } from "effect-fuse/promise"
import { ignoring, type Library, longMillis, never, pause, recoveryOf, Switch } from "../library.ts"

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
  recovery: () =>
    recoveryOf((fn) => {
      const breaker = createBreaker(fn, { trip: trip.consecutive(1), cooldown: 1 })
      return { call: () => breaker.execute(), isClosed: () => breaker.state === "Closed" }
    }),
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
