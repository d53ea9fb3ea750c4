import Opossum from "opossum"
import { type Call, ignoring, type Library, longMillis, never, pause, recoveries } from "../library.ts"

const untilHalfOpen = async (breakers: ReadonlyArray<Opossum>): Promise<void> => {
  while (breakers.some(({ halfOpen }) => !halfOpen)) await pause(1)
}

export const library: Library = {
  name: "opossum",
  protect: (fn, { timeout }) => {
    const breaker = new Opossum(fn, timeout ? {} : { timeout: false })
    return () => breaker.fire()
  },
  open: async () => {
    const breaker = new Opossum(() => Promise.reject("down"), { resetTimeout: longMillis })
    await ignoring(breaker.fire())
    return () => breaker.fire()
  },
  recovery: () => {
    const breakers = Array.from({ length: recoveries }, () => new Opossum(async () => 1, { resetTimeout: 1 }))
    return {
      open: async () => {
        for (const breaker of breakers) breaker.open()
        await untilHalfOpen(breakers)
      },
      calls: breakers.map((breaker) => () => breaker.fire()),
      probes: 1,
      closed: () => breakers.filter(({ closed }) => closed).length
    }
  },
  probing: async () => {
    let fn: Call = () => Promise.reject("down")
    const breaker = new Opossum(() => fn(), { timeout: false, resetTimeout: 1 })
    await ignoring(breaker.fire())
    await untilHalfOpen([breaker])
    fn = never
    void breaker.fire()
    return () => breaker.fire()
  }
}
