/**
 * Inspects and controls the fleet's circuits from outside: from a script, an admin page or a job that is not a process of the fleet.
 *
 * **When to use**
 *
 * Use it in programs that do not call the protected dependencies. A `BreakerStore` layer makes its program a voter of the fleet, and a
 * program that only inspects and controls circuits must not vote: a single process that sees an outage would then be one voter of two, and
 * have no majority.
 *
 * These functions read and write the store directly. They fail if the store fails, and succeed only after the store has done the work.
 *
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import * as Operator from "effect-fuse/Operator"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const maintenance = Effect.gen(function* () {
 *   const store = yield* RedisStore.make({ prefix: "shop" })
 *   yield* Operator.isolate(store, "payments", { reason: "maintenance", actor: "ann", for: "30 minutes" })
 *   return yield* Operator.list(store)
 * }).pipe(Effect.provide(NodeRedis.layer({ url: "redis://localhost:6379" })))
 * Effect.isEffect(maintenance) // => true
 * ```
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { ImportError } from "../breaker/BreakerStore.ts"
import type * as CircuitBreaker from "../breaker/CircuitBreaker.ts"
import { byHandFields, circuitName, fieldsOf, operatorKey } from "../breaker/options.ts"
import * as Circuit from "../core/Circuit.ts"
import {
  decodeArgument,
  decodeOptions,
  type FieldsOf,
  functionField,
  optional,
  refused,
  textOrEmpty
} from "../core/fields.ts"
import { type ActionName, type Taken, take } from "../core/operatorActions.ts"
import { printableCircuit } from "../core/printable.ts"
import { nextStamp } from "../core/stamp.ts"
import { defaults as noRamp } from "../policy/policy.ts"
import type * as BreakerEvent from "../shapes/BreakerEvent.ts"
import { endedBy } from "../shapes/overrides.ts"
import { toTransition } from "../shapes/transition.ts"
import { circuitId, fromBody, type Provenance } from "../store/codec.ts"
import * as exported from "../store/exported.ts"
import { type Done, decode, type Identity, type Known, read, toKnown, type Unreadable } from "../store/known.ts"
import { byName, listed, listedRecords } from "../store/listed.ts"
import { fleetOverview, type Overview } from "../store/overview.ts"
import { policyAfter, toSwap } from "../store/record.ts"
import { type SharedStore, type Stored, StoreError, type Swap, type SwapAnswer } from "../store/SharedStore.ts"

export type {
  /**
   * A key whose circuit is not Closed or has failed recently.
   *
   * @category models
   */
  WorstKey
} from "../store/digest.ts"
export type {
  /**
   * The store's record of a circuit after an operator action.
   *
   * @category models
   */
  Done,
  /**
   * The name and the key of a circuit.
   *
   * @category models
   */
  Identity,
  /**
   * The store's record of a circuit. Times are milliseconds since 1970 by this process's clock.
   *
   * @category models
   */
  Known,
  /**
   * A record that this version cannot read: it comes from a newer version, or is not a record.
   *
   * @category models
   */
  Unreadable
} from "../store/known.ts"
export type {
  /**
   * How many calls the processes counted for one name.
   *
   * @category models
   */
  CallCounts,
  /**
   * What the fleet knows of one name.
   *
   * @category models
   */
  NameOverview,
  /**
   * What the fleet knows of its circuits: those that are not healthy, and all names with their recent traffic.
   *
   * @category models
   */
  Overview,
  /**
   * The recent traffic of one name.
   *
   * @category models
   */
  Traffic
} from "../store/overview.ts"

/**
 * An operator action found a record that this version cannot read. It did not overwrite it.
 *
 * @category errors
 */
export class UnreadableRecord extends Data.TaggedError("UnreadableRecord")<{
  readonly name: string
  readonly key: string | undefined
  readonly body: string
}> {
  override get message(): string {
    return `The store has a record of ${printableCircuit(this.name, this.key)} that this version cannot read; the action did not change it`
  }
}

/**
 * The key of the circuit, the reason, the operator, and the name of the program.
 *
 * @category options
 */
export interface ActionOptions extends CircuitBreaker.ByHand {
  /** The name of this program in the events of the fleet. Default: `operator`. */
  readonly process?: string | undefined
}

/**
 * {@link ActionOptions}, and how long the action lasts. Default: overrides last until {@link release}, and {@link open} lasts 30
 * seconds.
 *
 * @category options
 */
export interface TimedActionOptions extends ActionOptions, CircuitBreaker.ByHandFor {}

/** The voter id of an operator. The store never counts it as a live process. */
const operatorVoter = "operator"

/** If an action reaches the store later than this, it changes nothing: it may have been delayed on its way. */
const notAfterMillis = 5_000

/** The maximum number of attempts at a compare-and-swap that other writers win. */
const attempts = 20

/**
 * The fleet's circuits that are not healthy, sorted by name and key, and the number of live processes. The store has no records of healthy
 * circuits, so their number is unknown.
 *
 * @category getters
 */
export const list = (
  store: SharedStore
): Effect.Effect<{ readonly circuits: ReadonlyArray<Known | Unreadable>; readonly processes: number }, StoreError> =>
  listed(store)

/**
 * What the fleet knows of its circuits: those that are not healthy, and every name with its state, its recent traffic and its worst keys. The
 * names and the traffic come from the digests that the processes send with their heartbeats, so they are up to one `syncInterval` old. A
 * process with the option `digest: false` sends none.
 *
 * Names and keys are foreign text: escape them where you show them.
 *
 * @category getters
 */
export const overview = (store: SharedStore): Effect.Effect<Overview, StoreError> => fleetOverview(store)

/**
 * The store's record of one circuit; `undefined` if there is none, which means that the circuit is Closed for the fleet.
 *
 * @category getters
 */
export const inspect = (
  store: SharedStore,
  name: string,
  options?: CircuitBreaker.Target
): Effect.Effect<Known | Unreadable | undefined, StoreError> => {
  const { key } = decodeOptions("Operator.inspect", { key: operatorKey }, options)
  const id = identify(store, "Operator.inspect", name, key)
  return Effect.map(Effect.all([store.load([id]), Clock.currentTimeMillis]), ([{ records }, now]) => {
    const [stored] = records
    return stored === undefined ? undefined : read(id, stored, now)
  })
}

const identify = (store: SharedStore, operation: string, name: string, key: string | undefined): string => {
  const id = circuitId(circuitName(operation, name), decodeArgument(operation, "key", operatorKey, key))
  const { longestCircuit = Infinity } = store
  if (id.length <= longestCircuit) return id
  throw refused(
    operation,
    "name",
    `expected name and key of at most ${longestCircuit} characters, as the store writes them, got ${id.length}`
  )
}

type Steered = Effect.Effect<Done, StoreError | UnreadableRecord>

/** An operator action, with the name of this program. */
interface Action extends Taken {
  readonly process: string | undefined
}

/** Takes an operator action on the fleet's record of a circuit. It retries if another process writes the record at the same time. */
const steer = (
  store: SharedStore,
  operation: string,
  { key, name }: Identity,
  { actor, detail, next, process = operatorVoter, why }: Action
): Steered => {
  const circuit = identify(store, operation, name, key)
  const attempt = (stored: Stored | undefined, notAfter: number, left: number, action: string): Steered =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const record = stored && fromBody(stored.body, now - stored.age)
      if (stored !== undefined && record === undefined) {
        return Effect.fail(new UnreadableRecord({ name, key, body: stored.body }))
      }
      const epoch = stored?.epoch ?? 0
      const current = Circuit.expire(record?.circuit ?? { ...Circuit.initial, since: now }, now)
      const state = next(current, now, { at: now, rules: noRamp })
      const provenance = {
        why,
        detail,
        actor,
        policy: policyAfter(why, record?.provenance),
        process,
        at: now,
        action
      } satisfies Provenance
      const answer = (epoch: number) => ({
        ...toKnown({ name, key }, epoch, state, provenance, now),
        ended: endedBy(why, current, now, now)
      })
      if (state === current) {
        const known = record && toKnown({ name, key }, epoch, record.circuit, record.provenance, now)
        return Effect.succeed({ ...(known ?? answer(epoch)), transition: undefined, ended: [] })
      }
      const transition = toTransition(current, state, now, noRamp, {
        ...provenance,
        circuit: name,
        key,
        scope: "fleet",
        mode: "enforce",
        counts: undefined
      })
      return Effect.flatMap(swapped(store, toSwap(circuit, epoch, state, now, provenance), notAfter), (swap) => {
        if (swap?.swapped === true) return Effect.succeed({ ...answer(swap.record?.epoch ?? epoch + 1), transition })
        if (left <= 1) {
          const cause = new Error(`another process came first, or the store was late, ${attempts} times in a row`)
          return Effect.fail(new StoreError({ operation: "exchange", cause }))
        }
        return swap === undefined ? begin(left - 1, action) : attempt(swap.record, notAfter, left - 1, action)
      })
    })
  const begin = (left: number, action: string): Steered =>
    Effect.flatMap(store.load([circuit]), ({ records: [stored], time }) =>
      attempt(stored, time + notAfterMillis, left, action)
    )
  // Each run of the effect is a separate action.
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    begin(attempts, `${nextStamp(now)}-${globalThis.crypto.randomUUID()}`)
  )
}

/** Swaps one record. Returns `undefined` if the command reached the store too late. */
const swapped = (
  store: SharedStore,
  swap: Swap,
  notAfter: number
): Effect.Effect<SwapAnswer | undefined, StoreError> => {
  const swaps = [swap]
  const floor = swap.expectedEpoch
  const exchange = { voter: operatorVoter, ttl: 0, notAfter, heard: 0, floor, casts: [], swaps }
  return Effect.map(store.exchange(exchange), (answer) => (answer._tag === "Done" ? answer.swaps[0] : undefined))
}

const act = (
  action: ActionName,
  store: SharedStore,
  name: string,
  options: TimedActionOptions | undefined
): Steered => {
  const operation = `Operator.${action}`
  const fields = { ...fieldsOf(action), process: optional(textOrEmpty) }
  const { for: millis, key, process, ...by } = decodeOptions(operation, fields, options)
  return steer(store, operation, { name, key }, { ...take(action, { ...by, millis }), process })
}

/**
 * Forces a circuit to reject every call in all processes, including those that start later, until {@link release} or for the duration
 * `for`. Without a key, it applies to all keys of the name.
 *
 * A later override never shortens an earlier one. The circuit is Isolated until the last isolation ends, and then Disabled until the last
 * {@link disable} ends.
 *
 * @category operator actions
 */
export const isolate = (
  store: SharedStore,
  name: string,
  options?: TimedActionOptions
): Effect.Effect<Done, StoreError | UnreadableRecord> => act("isolate", store, name, options)

/**
 * Lets every call through, uncounted, in all processes, until {@link release} or for the duration `for`.
 *
 * @category operator actions
 */
export const disable = (
  store: SharedStore,
  name: string,
  options?: TimedActionOptions
): Effect.Effect<Done, StoreError | UnreadableRecord> => act("disable", store, name, options)

/**
 * Ends all overrides that any operator has set with {@link isolate} and {@link disable}. `ended` of the result lists them. The state
 * beneath them is kept.
 *
 * @category operator actions
 */
export const release = (
  store: SharedStore,
  name: string,
  options?: ActionOptions
): Effect.Effect<Done, StoreError | UnreadableRecord> => act("release", store, name, options)

/**
 * Opens a circuit as a trip does: it cools down for `for`, and then probes and closes by itself. Default: 30 seconds, as the circuit's
 * policy is not known here.
 *
 * @category operator actions
 */
export const open = (
  store: SharedStore,
  name: string,
  options?: TimedActionOptions
): Effect.Effect<Done, StoreError | UnreadableRecord> => act("open", store, name, options)

/**
 * Closes a circuit that the fleet has opened, without a ramp. A process that opened the circuit only for itself keeps it open: use
 * {@link reset} to close it there, too.
 *
 * @category operator actions
 */
export const close = (
  store: SharedStore,
  name: string,
  options?: ActionOptions
): Effect.Effect<Done, StoreError | UnreadableRecord> => act("close", store, name, options)

/**
 * Returns a circuit to its initial state in all processes: Closed, with no past openings and no override.
 *
 * @category operator actions
 */
export const reset = (
  store: SharedStore,
  name: string,
  options?: ActionOptions
): Effect.Effect<Done, StoreError | UnreadableRecord> => act("reset", store, name, options)

// ---- Export and import ----------------------------------------------------------------------------------------------

/**
 * The circuits of {@link list} as JSON, for {@link importAll} or `BreakerStore.importAll`. `unreadable` lists the records that this
 * version cannot read, which the JSON omits.
 *
 * @category transfer
 */
export const exportAll = (
  store: SharedStore
): Effect.Effect<
  { readonly json: string; readonly circuits: number; readonly unreadable: ReadonlyArray<Unreadable> },
  StoreError
> =>
  Effect.map(Effect.all([listedRecords(store), Clock.currentTimeMillis]), ([{ records }, now]) => {
    const circuits: Array<exported.ExportedCircuit> = []
    const unreadable: Array<Unreadable> = []
    for (const { circuit, ...stored } of records) {
      const one = decode(circuit, stored, now)
      if (one._tag === "Unreadable") {
        unreadable.push(one)
        continue
      }
      const state = Circuit.expire(one.circuit, now)
      if (exported.isWorthMoving(state, now)) circuits.push({ ...one.id, state })
    }
    circuits.sort(byName)
    return { json: exported.write(circuits, now, now), circuits: circuits.length, unreadable: unreadable.sort(byName) }
  })

/**
 * The options of {@link importAll}.
 *
 * @category options
 */
export interface ImportOptions extends Omit<ActionOptions, "key"> {
  /** Called after each circuit, with the number of circuits that are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

const importFields = {
  ...byHandFields,
  process: optional(textOrEmpty),
  onProgress: optional(functionField)
} satisfies FieldsOf<ImportOptions>

/**
 * Imports the JSON of an export, from this store or another, into all processes. `circuits` of the result is the number of imported
 * circuits.
 *
 * Openings keep their original end. Circuits that are not in the JSON do not change. Records that cannot be read are not overwritten,
 * and `unreadable` lists them. Invalid JSON changes nothing, and fails with an `ImportError`.
 *
 * @category transfer
 */
export const importAll = (
  store: SharedStore,
  json: string,
  options?: ImportOptions
): Effect.Effect<
  {
    readonly circuits: number
    readonly unreadable: ReadonlyArray<Identity>
    /** The transitions of the circuits that changed, as in {@link Done}. */
    readonly transitions: ReadonlyArray<BreakerEvent.Transition>
  },
  StoreError | ImportError
> => {
  const operation = "Operator.importAll"
  const { onProgress: progress, process, ...by } = decodeOptions(operation, importFields, options)
  const taking = ({ key, name, state }: exported.ExportedCircuit) => {
    const { actor, detail = "imported" } = exported.originOf(state)
    const provenance = { detail: by.reason ?? detail, actor: by.actor ?? actor, process }
    return steer(store, operation, { name, key }, { ...provenance, why: "Imported", next: exported.takeOn(state) })
  }
  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const read = exported.read(json, now, now)
    // An invalid name or key is found before anything is changed.
    const all = Result.flatMap(read, (circuits) =>
      Result.try({ try: () => circuits.map(taking), catch: (error) => String(error) })
    )
    if (Result.isFailure(all)) return yield* new ImportError({ message: `importAll: ${all.failure}` })
    let done = 0
    const results = yield* Effect.forEach(
      all.success,
      (one) =>
        Effect.catchTag(one, "UnreadableRecord", (error) => Effect.succeed(error)).pipe(
          Effect.tap(() => Effect.sync(() => progress?.(++done, all.success.length)))
        ),
      { concurrency: 8 }
    )
    const unreadable: Array<Identity> = []
    const transitions: Array<BreakerEvent.Transition> = []
    for (const one of results) {
      if (one._tag === "UnreadableRecord") unreadable.push({ name: one.name, key: one.key })
      else if (one.transition !== undefined) transitions.push(one.transition)
    }
    return { circuits: results.length - unreadable.length, unreadable, transitions }
  })
}
