/**
 * Assertions for tests: the state of a circuit, and the transitions that it made.
 *
 * ```ts
 * import { Effect, pipe } from "effect"
 * import { TestClock } from "effect/testing"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 * import { CircuitTest, Dependency } from "effect-fuse/testing"
 *
 * const test = Effect.gen(function* () {
 *   const recording = yield* CircuitTest.record
 *   const bank = yield* Dependency.make({ answer: "paid", error: "down", steps: ["fail", "fail", "fail", "fail", "fail"] })
 *   const pay = pipe(bank.call, CircuitBreaker.protect("bank"), Effect.ignore)
 *   yield* Effect.repeat(pay, { times: 5 })
 *   yield* CircuitTest.expectState("bank", "Open")
 *   yield* TestClock.adjust("30 seconds")
 *   yield* pay
 *   return recording.transitions("bank")
 * }).pipe(Effect.scoped, Effect.provide(BreakerStore.layerMemory), Effect.provide(TestClock.layer()))
 *
 * await Effect.runPromise(test) // => ["Closed -> Open: Tripped", "Open -> HalfOpen: CooldownOver", "HalfOpen -> Closed: Recovered"]
 * ```
 *
 * A failed assertion is a defect with `actual` and `expected`, which test runners show. Its message has the counts of the circuit and
 * the cause of its state. To set a state in a test, use `CircuitBreaker.open` and `close`, or `isolate` and `disable` if it must last.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import { targetFields } from "../breaker/options.ts"
import type * as Circuit from "../core/Circuit.ts"
import { decodeOptions } from "../core/fields.ts"
import { plural } from "../core/plural.ts"
import { printable, printableCircuit } from "../core/printable.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"

/**
 * A failed assertion about a circuit.
 *
 * @category errors
 */
export class Unexpected extends Error {
  override readonly name = "Unexpected"
  readonly actual: unknown
  readonly expected: unknown
  constructor(message: string, found: { readonly actual: unknown; readonly expected: unknown }) {
    super(message)
    this.actual = found.actual
    this.expected = found.expected
  }
}

const which = ({ circuit, key }: { readonly circuit: string; readonly key?: string | undefined }): string =>
  `Circuit ${printableCircuit(circuit, key)}`

/** The counts of a circuit and the cause of its state, for the message of a failed assertion. */
const describe = ({
  cause,
  inFlight,
  openings,
  retryAfter,
  scope,
  streak,
  totals
}: CircuitBreaker.Inspection): string => {
  const { calls, failures, rejected, successes } = totals
  return [
    `${plural(calls, "call")}: ${successes} succeeded, ${failures} failed, ${streak} in a row; ${inFlight} running; ${rejected} rejected`,
    `${plural(openings, "opening")}; retry after ${Duration.format(retryAfter)}; decided by ${scope === "local" ? "this process" : "the fleet"}`,
    ...(cause === undefined ? [] : [`${cause.why}: ${cause.detail}`])
  ]
    .map((line) => `  ${line}`)
    .join("\n")
}

const maxShown = 10

const listed = (what: string, texts: Iterable<string>): string => {
  const all = [...new Set(texts)].sort()
  const shown = all.slice(0, maxShown).map((one) => `"${printable(one)}"`)
  const rest = all.length > maxShown ? [`${all.length - maxShown} more`] : []
  return `${what}${all.length === 1 ? "" : "s"} ${[...shown, ...rest].join(", ")}`
}

/** Says that the circuit of an assertion does not exist, and which circuits do; `undefined` if it exists. */
const missing = (
  name: string,
  key: string | undefined,
  circuits: ReadonlyArray<{ readonly circuit: string; readonly key?: string | undefined }>
): string | undefined => {
  if (circuits.length === 0) return "no such circuit; no circuit has been used"
  const ofName = circuits.filter(({ circuit }) => circuit === name)
  if (ofName.some((one) => one.key === key)) return undefined
  const keys = ofName.flatMap((one) => one.key ?? [])
  if (keys.length > 0) return `no such circuit; this name has the ${listed("key", keys)}`
  return ofName.length > 0
    ? "no such circuit; this name has only the circuit without a key"
    : `no such circuit; this store has the ${listed(
        "name",
        circuits.map(({ circuit }) => circuit)
      )}`
}

/**
 * Dies with {@link Unexpected} if the circuit is in another state. If there is no such circuit, the message lists the names, or the
 * keys of the name, that exist. A circuit that has not been called is Closed.
 *
 * @category assertions
 */
export const expectState = (
  name: string,
  state: Circuit.State,
  options?: CircuitBreaker.Target
): Effect.Effect<void, never, BreakerStore> => {
  const target = decodeOptions("CircuitTest.expectState", targetFields, options)
  return Effect.flatMap(Effect.all([CircuitBreaker.inspect(name, target), CircuitBreaker.list]), ([seen, all]) => {
    const absent = missing(name, seen.key, all)
    // If the name has only circuits with keys, the test has forgotten the key.
    const isForgotten = absent !== undefined && seen.key === undefined && all.some(({ circuit }) => circuit === name)
    if (seen.state === state && !isForgotten) return Effect.void
    const details = absent === undefined ? describe(seen) : `  ${absent}`
    return Effect.die(
      new Unexpected(`${which(seen)} should be ${state} and is ${seen.state}\n${details}`, {
        actual: seen.state,
        expected: state
      })
    )
  })
}

/**
 * What the circuits of a store did since {@link record}.
 *
 * @category models
 */
export interface Recording {
  /** All events of all circuits, oldest first. */
  readonly events: () => ReadonlyArray<BreakerEvent>
  /** The transitions of a circuit, oldest first, as texts such as `Closed -> Open: Tripped`. */
  readonly transitions: (name: string, options?: CircuitBreaker.Target) => ReadonlyArray<string>
  /** Dies with {@link Unexpected} unless these are all transitions of the circuit so far, in this order. */
  readonly expectTransitions: (
    name: string,
    transitions: ReadonlyArray<string>,
    options?: CircuitBreaker.Target
  ) => Effect.Effect<void>
}

const line = ({ from, to, why }: Transition): string => `${from} -> ${to}: ${why}`

/**
 * Records the events of all circuits of the store until the scope closes.
 *
 * @category recording
 */
export const record: Effect.Effect<Recording, never, BreakerStore | Scope.Scope> = BreakerStore.use((registry) => {
  const events: Array<BreakerEvent> = []
  const { observers } = registry.runtime
  const observe = (event: BreakerEvent): void => void events.push(event)
  const transitions: Recording["transitions"] = (name, options) =>
    events.flatMap((event) =>
      event._tag === "Transition" && event.circuit === name && event.key === options?.key ? [line(event)] : []
    )
  const recording: Recording = {
    events: () => [...events],
    transitions,
    expectTransitions: (name, expected, options) =>
      Effect.suspend(() => {
        const actual = transitions(name, options)
        if (actual.length === expected.length && actual.every((one, i) => one === expected[i])) return Effect.void
        const message = `${which({ circuit: name, key: options?.key })} made other transitions than expected`
        const absent = missing(name, options?.key, events)
        const details = absent === undefined ? "" : `\n  ${absent}`
        return Effect.die(new Unexpected(`${message}${details}`, { actual, expected }))
      })
  }
  return Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => void observers.add(observe)),
      () => Effect.sync(() => void observers.delete(observe))
    ),
    recording
  )
})
