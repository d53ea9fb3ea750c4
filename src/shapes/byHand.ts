/**
 * A circuit of a name: the circuit of the name itself, or the circuit of a key.
 *
 * @category options
 * @since 0.1.0
 */
export interface Target {
  /**
   * The key of a circuit with the policy of the name and a state of its own: a host, a region, a customer. Any text is a key, also the
   * empty text. Calls share the key `(overflow)` if their key has more than 512 characters, or if there is no room for another circuit.
   */
  readonly key?: string | undefined
}

/**
 * The circuit that an operator action is for, the reason, and the operator. Reason and operator are stored, logged and announced.
 *
 * @category options
 * @since 0.1.0
 */
export interface ByHand extends Target {
  /** Default: `isolate`, `disable` and `open` have a reason that says that an operator did it; the others have none. */
  readonly reason?: string | undefined
  readonly actor?: string | undefined
}
