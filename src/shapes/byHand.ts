/**
 * Which circuit of a name. Default: the circuit without a key.
 *
 * @category options
 */
export interface Target {
  /**
   * The key, for example a host, a region or a customer. The circuit of a key has the policy of the name and a state of its own. Any text
   * is a key, also the empty text. Calls share the key `(overflow)` if their key has more than 512 characters, or if there is no
   * room for another circuit (`maxCircuits`).
   */
  readonly key?: string | undefined
}

/**
 * The circuit of an operator action, the reason, and the operator. Reason and operator appear in the store, the log and the events.
 *
 * @category options
 */
export interface ByHand extends Target {
  /** Default: for `isolate`, `disable` and `open` a text that names the action; for the others none. */
  readonly reason?: string | undefined
  readonly actor?: string | undefined
}
