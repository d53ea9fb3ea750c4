/** The setup of a process with many keys. */
export interface KeysSetup {
  readonly url: string
  readonly prefix: string
  readonly name: string
  /** How many calls of one circuit the process makes as soon as its layer is built. */
  readonly callsAtOnce: number
}

export type KeysOrder =
  | { readonly do: "dependency"; readonly isUp: boolean }
  /** Calls this many keys, each once per second, until the next order. 0 stops the calls. */
  | { readonly do: "call"; readonly keys: number }
  /** Opens the circuits of this many keys in the whole fleet. */
  | { readonly do: "open"; readonly keys: number }
  | { readonly do: "open one" }
  | { readonly do: "report" }
  | { readonly do: "stop" }

export interface KeysAnswer {
  readonly id: number
  /** Calls that reached the dependency since the start, and those of `callsAtOnce`. */
  readonly reached: number
  readonly reachedAtOnce: number
  /** How many circuits the process knew as open in the whole fleet, right after `callsAtOnce` and now. */
  readonly knownAtOnce: number
  readonly known: number
  /** Milliseconds from the start of the process until its layer was built, and until now. */
  readonly builtMillis: number
  readonly upMillis: number
  /** The longest delay of a timer since the last answer, in milliseconds. */
  readonly longestLag: number
  /** The warnings about the store. */
  readonly store: ReadonlyArray<string>
}
