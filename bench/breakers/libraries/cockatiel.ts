import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleAll,
  TimeoutStrategy,
  timeout as timeoutPolicy,
  wrap
} from "cockatiel"
import { ignoring, type Library, longMillis, recoveryOf, timeoutMillis } from "../library.ts"

// The policy has no defaults for these two options.
const breakerOf = (failures: number, halfOpenAfter: number) =>
  circuitBreaker(handleAll, { halfOpenAfter, breaker: new ConsecutiveBreaker(failures) })

const limit = () => timeoutPolicy(timeoutMillis, TimeoutStrategy.Aggressive)

export const library: Library = {
  name: "cockatiel",
  protect: (fn, { timeout }) => {
    const breaker = breakerOf(5, 30_000)
    const policy = timeout ? wrap(breaker, limit()) : breaker
    return () => policy.execute(fn)
  },
  open: async () => {
    const policy = wrap(breakerOf(1, longMillis), limit())
    const down = () => Promise.reject("down")
    await ignoring(policy.execute(down))
    return () => policy.execute(down)
  },
  recovery: () =>
    recoveryOf((fn) => {
      const breaker = breakerOf(1, 1)
      const policy = wrap(breaker, limit())
      return { call: () => policy.execute(fn), isClosed: () => breaker.state === CircuitState.Closed }
    })
}
