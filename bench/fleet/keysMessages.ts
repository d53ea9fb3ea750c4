/** What a process with many keys is started with. */
export interface KeysSetup {
  readonly url: string
  readonly prefix: string
  readonly name: string
  /** How many calls of one circuit it makes as soon as its layer is built. */
  readonly callsAtOnce: number
}

export type KeysOrder =
  | { readonly do: "dependency"; readonly isUp: boolean }
  /** Calls this many keys, each once per second, from now on; 0 to stop. */
  | { readonly do: "call"; readonly keys: number }
  /** Opens the circuits of this many keys for all. */
  | { readonly do: "open"; readonly keys: number }
  | { readonly do: "open one" }
  | { readonly do: "report" }
  | { readonly do: "stop" }

export interface KeysAnswer {
  readonly id: number
  /** Calls that reached the dependency since the start, and those of `callsAtOnce`. */
  readonly reached: number
  readonly reachedAtOnce: number
  /** Circuits that this process knew to be open for all right after `callsAtOnce`, and knows now. */
  readonly knownAtOnce: number
  readonly known: number
  /** Milliseconds from the start of the program until its layer was built, and until now. */
  readonly builtMillis: number
  readonly upMillis: number
  /** The longest delay of a timer since the last answer, in milliseconds. */
  readonly longestLag: number
  /** The warnings about the store. */
  readonly store: ReadonlyArray<string>
}
