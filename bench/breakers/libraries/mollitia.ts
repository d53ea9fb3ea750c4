import { BreakerState, Circuit, SlidingCountBreaker, Timeout } from "mollitia"
import { type Call, type Library, longMillis, pause, recoveries, timeoutMillis } from "../library.ts"

const circuitOf = (func: Call, timeout: boolean, breaker: SlidingCountBreaker) =>
  new Circuit({ func, options: { modules: timeout ? [breaker, new Timeout({ delay: timeoutMillis })] : [breaker] } })

export const library: Library = {
  name: "mollitia",
  protect: (fn, { timeout }) => {
    const circuit = circuitOf(fn, timeout, new SlidingCountBreaker())
    return () => circuit.execute()
  },
  open: async () => {
    const breaker = new SlidingCountBreaker({ openStateDelay: longMillis })
    await breaker.open()
    const circuit = circuitOf(() => Promise.reject("down"), true, breaker)
    return () => circuit.execute()
  },
  recovery: () => {
    const breakers = Array.from({ length: recoveries }, () => new SlidingCountBreaker({ openStateDelay: 1 }))
    const isIn = (state: BreakerState) => breakers.filter((breaker) => breaker.state === state).length
    return {
      open: async () => {
        for (const breaker of breakers) await breaker.open()
        while (isIn(BreakerState.HALF_OPENED) < recoveries) await pause(1)
      },
      calls: breakers.map((breaker) => {
        const circuit = circuitOf(async () => 1, true, breaker)
        return () => circuit.execute()
      }),
      probes: 2,
      closed: () => isIn(BreakerState.CLOSED)
    }
  }
}
