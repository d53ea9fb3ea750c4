/** A function that takes no arguments. */
export type Call = () => Promise<unknown>

/** The timeout of every case that has one. It is the default of effect-fuse and of opossum. */
export const timeoutMillis = 10_000

/** How long a circuit stays open in cases in which it must not recover. */
export const longMillis = 3_600_000

/** How many circuits recover in one sample. */
export const recoveries = 200

/** Circuits that open and recover again and again. */
export interface Recovery {
  /** Opens every circuit, and waits until each lets a probe pass. */
  readonly open: () => Promise<void>
  /** One call through each circuit. */
  readonly calls: ReadonlyArray<Call>
  /** How many probes close a circuit by default. */
  readonly probes: number
  /** Counts the closed circuits. */
  readonly closed: () => number
}

/** A library for functions that return promises. If a row does not name an option, it uses the default. */
export interface Library {
  readonly name: string
  /** Protects a function. A library without a default timeout gets one of the same length. */
  readonly protect: (fn: Call, options: { readonly timeout: boolean }) => Call
  /** A call that an open circuit rejects, with the default or the common timeout. */
  readonly open?: (() => Promise<Call>) | undefined
  readonly recovery?: (() => Recovery) | undefined
  /** A call that is rejected because a probe that never ends has the only slot. Absent if such calls pass or wait. */
  readonly probing?: (() => Promise<Call>) | undefined
}

/** Switches a function between success and failure. */
export class Switch {
  isDown = false
  readonly call = async (): Promise<number> => {
    if (this.isDown) throw "down"
    return 1
  }
}

/** `make` creates a circuit that opens at the first failure. After 1 ms, one successful probe closes it. */
export const recoveryOf = (make: (fn: Call) => { readonly call: Call; readonly isClosed: () => boolean }): Recovery => {
  const dependency = new Switch()
  const circuits = Array.from({ length: recoveries }, () => make(dependency.call))
  return {
    open: async () => {
      dependency.isDown = true
      for (const { call } of circuits) await ignoring(call())
      dependency.isDown = false
      await pause(5)
    },
    calls: circuits.map(({ call }) => call),
    probes: 1,
    closed: () => circuits.filter(({ isClosed }) => isClosed()).length
  }
}

const waiting: Array<(answer: number) => void> = []

/** A function whose promise never settles. As with a real dependency, something keeps a reference to the promise. */
export const never = (): Promise<number> =>
  new Promise((resolve) => {
    waiting.push(resolve)
  })

export const ignoring = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => {})

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
