import { circuitBreaker, Policy } from "@git-stunts/alfred"
import { ignoring, type Library, longMillis, recoveryOf, timeoutMillis } from "../library.ts"

// The policy has no defaults for these two options.
const policyOf = (threshold: number, duration: number) => Policy.circuitBreaker({ threshold, duration })
const limit = () => Policy.timeout(timeoutMillis)

export const library: Library = {
  name: "alfred",
  protect: (fn, { timeout }) => {
    if (!timeout) {
      const breaker = circuitBreaker({ threshold: 5, duration: 30_000 })
      return () => breaker.execute(fn)
    }
    const policy = policyOf(5, 30_000).wrap(limit())
    return () => policy.execute(fn)
  },
  open: async () => {
    const policy = policyOf(1, longMillis).wrap(limit())
    const down = () => Promise.reject("down")
    await ignoring(policy.execute(down))
    return () => policy.execute(down)
  },
  recovery: () =>
    recoveryOf((fn) => {
      const breaker = circuitBreaker({ threshold: 1, duration: 1 })
      const timed = limit()
      return { call: () => breaker.execute(() => timed.execute(fn)), isClosed: () => breaker.state === "CLOSED" }
    })
}
