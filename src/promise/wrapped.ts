import type { PlainBreaker } from "./manager.ts"

/**
 * A function that calls the function of a breaker, and has its `name`, `length` and own properties. If the function has no name, it has
 * the name of the circuit.
 */
export const wrapped = (plain: PlainBreaker) => {
  const { fn } = plain
  const called = function (this: unknown, ...args: Array<unknown>) {
    return plain.bound(this, args)
  }
  for (const key of Reflect.ownKeys(fn)) {
    const described = Object.getOwnPropertyDescriptor(fn, key)
    // Some own properties of a function cannot be given to another: `prototype`, and `caller` in old code.
    if (described !== undefined && Object.getOwnPropertyDescriptor(called, key)?.configurable !== false) {
      Object.defineProperty(called, key, { ...described, configurable: true })
    }
  }
  if (fn.name === "") Object.defineProperty(called, "name", { value: plain.name, configurable: true })
  return called
}
