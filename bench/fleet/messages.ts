/** What the bench tells a process of the fleet. */
export type Order =
  /** So many calls of a circuit, one after the other. */
  | { readonly do: "call"; readonly key: string; readonly ok: boolean; readonly times: number }
  | { readonly do: "isolate"; readonly key: string }
  /** A bare PUBLISH, which all hear. */
  | { readonly do: "publish"; readonly key: string }
  /** Calls that arrive whether those before have ended or not, at a rate per second. */
  | {
      readonly do: "arrive"
      readonly breaker: Breaker
      readonly key: string
      readonly rate: number
      readonly millis: number
      readonly seed: number
    }
  /** What the dependency answers to a call. */
  | { readonly do: "answer"; readonly id: number; readonly ok: boolean }
  | { readonly do: "stop" }

/** What a process tells the bench. Times are those of `monotonic`. */
export type News =
  | { readonly said: "ready" }
  | { readonly said: "done" }
  /** It wrote a record, or published: when it was sent, and when the answer was there. */
  | { readonly said: "swapped"; readonly circuit: string; readonly sent: number; readonly answered: number }
  /** It has taken a state on from the fleet, and then rejected a call; or has heard what was published. */
  | { readonly said: "rejected"; readonly key: string; readonly at: number }
  /** It calls the dependency. */
  | { readonly said: "calls"; readonly key: string; readonly id: number }

export const breakers = ["ours, Redis", "ours, memory", "Effect's, Redis"] as const
export type Breaker = (typeof breakers)[number]
