import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleAll,
  TimeoutStrategy,
  timeout as timeoutPolicy,
  wrap
} from "cockatiel"
import { ignoring, type Library, longMillis, pause, recoveries, Switch, timeoutMillis } from "../library.ts"

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
  recovery: () => {
    const dependency = new Switch()
    const breakers = Array.from({ length: recoveries }, () => breakerOf(1, 1))
    const calls = breakers.map((breaker) => {
      const policy = wrap(breaker, limit())
      return () => policy.execute(dependency.call)
    })
    return {
      open: async () => {
        dependency.isDown = true
        for (const call of calls) await ignoring(call())
        dependency.isDown = false
        await pause(5)
      },
      calls,
      probes: 1,
      closed: () => breakers.filter(({ state }) => state === CircuitState.Closed).length
    }
  }
}
