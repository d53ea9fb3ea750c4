import { type Call, type Library, recoveries } from "./library.ts"
import { atOnceText, busyText, probeText, timeoutText } from "./names.ts"
import type { Case } from "./sampling.ts"

/** Rows with {@link atOnceText} make this many concurrent calls. */
export const many = 1_000

const noop = async (): Promise<number> => 1

/** Calls a function again and again, one call after the other. */
const inTurn = (call: Call) => async (n: number) => {
  for (let i = 0; i < n; i++) await call()
}

const rejecting = (call: Call) => async (n: number) => {
  for (let i = 0; i < n; i++) {
    try {
      await call()
    } catch {}
  }
}

/** Holds calls back until all of a batch have begun. */
export class Gate {
  private opened: Promise<void> = Promise.resolve()
  open: () => void = () => {}

  readonly call = async (): Promise<number> => {
    await this.opened
    return 1
  }

  close(): void {
    this.opened = new Promise((resolve) => {
      this.open = resolve
    })
  }
}

const atOnce = (protect: (fn: Call) => Call) => {
  const gate = new Gate()
  const call = protect(gate.call)
  return async (n: number) => {
    for (let done = 0; done < n; done += many) {
      gate.close()
      const calls: Array<Promise<unknown>> = []
      for (let i = 0; i < many; i++) calls.push(call())
      setImmediate(() => gate.open())
      await Promise.all(calls)
    }
  }
}

const rejects = async (name: string, call: Call): Promise<void> => {
  const passed = await call().then(
    () => true,
    (error: unknown) => error === "down"
  )
  if (passed) throw new Error(`${name}: the call was not rejected by the circuit`)
}

const recoveryCase = (name: string, make: NonNullable<Library["recovery"]>): Case => {
  const { calls, closed, open, probes } = make()
  return {
    name,
    calls: recoveries * probes,
    prepare: open,
    run: async () => {
      for (const call of calls) for (let i = 0; i < probes; i++) await call()
    },
    check: () => {
      if (closed() < recoveries) throw new Error(`${name}: only ${closed()} circuits have closed`)
    }
  }
}

/** The cases of a library for promises. */
export const promiseCases = async ({
  name,
  open,
  probing,
  protect,
  recovery
}: Library): Promise<ReadonlyArray<Case>> => {
  const hasLibrary = open !== undefined
  const state = hasLibrary ? ", closed" : ""
  const cases: Array<Case> = [
    { name: `${name}${state}`, run: inTurn(protect(noop, { timeout: false })) },
    { name: `${name}, ${atOnceText}`, run: atOnce((fn) => protect(fn, { timeout: false })), calls: many * 5 }
  ]
  if (!hasLibrary) return cases
  cases.push(
    { name: `${name}${state}, ${timeoutText}`, run: inTurn(protect(noop, { timeout: true })) },
    {
      name: `${name}, ${atOnceText}, ${timeoutText}`,
      run: atOnce((fn) => protect(fn, { timeout: true })),
      calls: many * 5
    }
  )
  const call = await open()
  cases.push({ name: `${name}, open`, run: rejecting(call), check: () => rejects(name, call) })
  if (recovery !== undefined) cases.push(recoveryCase(`${name}, ${probeText}`, recovery))
  if (probing !== undefined) {
    const busy = await probing()
    cases.push({ name: `${name}, ${busyText}`, run: rejecting(busy), check: () => rejects(name, busy) })
  }
  return cases
}
