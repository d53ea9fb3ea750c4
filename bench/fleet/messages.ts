/** The orders of the bench to a process of the fleet. */
export type Order =
  /** Calls a circuit several times, one call after the other. */
  | { readonly do: "call"; readonly key: string; readonly ok: boolean; readonly times: number }
  | { readonly do: "isolate"; readonly key: string }
  /** Sends a bare PUBLISH, which all processes receive. */
  | { readonly do: "publish"; readonly key: string }
  /** Calls at a rate per second, without waiting for earlier calls. */
  | {
      readonly do: "arrive"
      readonly breaker: Breaker
      readonly key: string
      readonly rate: number
      readonly millis: number
      readonly seed: number
    }
  /** The result of a call of the dependency. */
  | { readonly do: "answer"; readonly id: number; readonly ok: boolean }
  | { readonly do: "stop" }

/** The reports of a process to the bench. Times are those of `monotonic`. */
export type News =
  | { readonly said: "ready" }
  | { readonly said: "done" }
  /** The process wrote a record or published a message: when it sent the request, and when it received the answer. */
  | { readonly said: "swapped"; readonly circuit: string; readonly sent: number; readonly answered: number }
  /** The process rejected a call because of the fleet's state, or received a published message. */
  | { readonly said: "rejected"; readonly key: string; readonly at: number }
  /** The process calls the dependency. */
  | { readonly said: "calls"; readonly key: string; readonly id: number }

export const breakers = ["ours, Redis", "ours, memory", "Effect's, Redis"] as const
export type Breaker = (typeof breakers)[number]
