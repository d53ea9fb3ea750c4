import type { Spread } from "./sampling.ts"

/** The time of one case, in nanoseconds per call. */
export interface Figure extends Spread {
  /** CPU time of all threads. The other three fields are wall time. */
  readonly cpu: Spread
}

/** A figure that has a limit. */
export interface Bar {
  readonly bar: string
  readonly value: number
  /** The quartiles over the rounds, where the value is a median of rounds. */
  readonly low?: number | undefined
  readonly high?: number | undefined
  readonly limit: number
  /** Whether `limit` is the highest allowed value. Otherwise, it is the lowest. */
  readonly most: boolean
  readonly met: boolean
}

/** The content of `bench/results/breakers.json`. */
export interface Result {
  readonly node: string
  readonly cpu: string
  readonly cores: number
  /** The load average of the machine over the minute before the run, and at its end. Below 1, the run had a core for itself. */
  readonly load: { readonly before: number; readonly after: number }
  readonly versions: Readonly<Record<string, string>>
  readonly rounds: number
  readonly nanosPerCall: Readonly<Record<string, Figure>>
  readonly bytesPerWaitingCall: Readonly<Record<string, number>>
  readonly bytesPerIdleCircuit: number
  readonly importMillis: { readonly needed: number; readonly root: number }
  readonly bars: ReadonlyArray<Bar>
}

/** The results of the benchmark before it was rebuilt, in `bench/results/breakers.v1.json`. It measured wall time only. */
export interface Earlier {
  readonly nanosPerCall: Readonly<Record<string, { readonly median: number }>>
}
