import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { plural } from "../core/plural.ts"
import { printable, printableCircuit } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import { stateOf } from "../store/known.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { agreementOf, asked, type One, overrideText, toData } from "./circuits.ts"
import { type RejectedCalls, rejectedSince } from "./history.ts"
import { answer, CommandFailure, iso, lasting, Painted, report, toJson } from "./messages.ts"
import { didYouMean, knownNames } from "./names.ts"
import { withStore } from "./opening.ts"
import { checkChoice, closedText, listAll, overviewData, overviewOn, overviewText } from "./overview.ts"
import { type Choice, chosen, type Sort, startOf, toTable } from "./rows.ts"
import type { OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import { paint, type Screen, screen, styleOf } from "./table.ts"

type ListResult = Effect.Success<ReturnType<typeof Operator.list>>

const listed = (store: SharedStore, opened: OpenedServer) => asked(opened, () => Operator.list(store))

/** The flags that choose which circuits are shown, and how. */
export interface Chosen {
  readonly all: boolean
  readonly name: Option.Option<string>
  readonly state: ReadonlyArray<string>
  readonly sort: Sort
  readonly limit: Option.Option<number>
  readonly keys: boolean
  readonly wide: boolean
}

const toChoice = ({ keys, limit, name, sort, state }: Chosen): Choice => ({
  name: Option.getOrUndefined(name),
  states: state,
  sort,
  limit: Option.getOrUndefined(limit),
  keys
})

/** Whether the store has neither a live process nor a circuit. A wrong prefix looks the same. */
const isEmpty = ({ circuits, processes }: ListResult): boolean => circuits.length === 0 && processes === 0

const summary = (all: ListResult, found: ReadonlyArray<One>): string => {
  if (isEmpty(all)) return "The store is empty: no live process and no circuit. Is --prefix the prefix of your fleet?"
  const { circuits, processes } = all
  const alive = `${plural(processes, "process", "processes")} alive`
  if (circuits.length === 0) return `All circuits are closed; ${alive}`
  const total = `${plural(circuits.length, "circuit")} not closed`
  if (found.length < circuits.length) return `${found.length} of ${total}; ${alive}`
  const names = new Set(found.map(({ name }) => name)).size
  return `${total}${names < found.length ? ` (${plural(names, "name")})` : ""}; ${alive}`
}

const toText = (all: ListResult, choice: Choice, at: number, on: Screen): string => {
  const found = chosen(all.circuits, choice)
  const { left, text } = toTable(found, choice, at, on)
  return [
    ...(found.length === 0 ? [] : [text]),
    ...(left === 0 ? [] : [`and ${left} more`]),
    ...(found.length === 0 ? [] : [""]),
    summary(all, found)
  ].join("\n")
}

const toListData = ({ circuits, processes }: ListResult, choice: Choice) => {
  const found = chosen(circuits, choice)
  return { processes, total: found.length, circuits: found.slice(0, choice.limit).map(toData) }
}

export const list = (input: Chosen & { readonly exitCode: boolean }, settings: CommandSettings) =>
  Effect.gen(function* () {
    yield* checkChoice(input, "list")
    const choice = toChoice(input)
    if (input.all) return yield* listAll(choice, input.wide, input.exitCode, settings)
    const all = yield* withStore(settings, listed)
    const text = toText(all, choice, yield* Clock.currentTimeMillis, yield* screen(input.wide))
    yield* answer(settings.json, toListData(all, choice), new Painted(text))
    const found = chosen(all.circuits, choice)
    if (input.exitCode && (found.length > 0 || isEmpty(all))) {
      yield* new CommandFailure({ code: 3, message: summary(all, found) })
    }
  })

// ---- One ------------------------------------------------------------------------------------------------------------

const times = ["since", "downSince", "until"]

/** Everything that the store has about a circuit, one line for each field. */
const details = (one: One, at: number, on: Screen): string =>
  Object.entries({ ...toData(one), agreed: undefined, overrides: undefined })
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([field, value]) => {
      const text = printable(String(value))
      const millis = times.includes(field) ? Date.parse(text) - at : undefined
      const away = millis === undefined ? "" : millis <= 0 ? ` (${lasting(-millis)} ago)` : ` (in ${lasting(millis)})`
      return `${field.padEnd(16)}${field === "state" ? paint(text, styleOf(text), on) : text}${away}`
    })
    .concat(agreementLine(one), overrideLines(one))
    .join("\n")

const agreementLine = (one: One): ReadonlyArray<string> => {
  const agreed = agreementOf(one)
  return agreed === undefined ? [] : [`${"agreed".padEnd(16)}${agreed.processes} of ${agreed.of} processes`]
}

/** A line for each override that does not decide the state. */
const overrideLines = (one: One): ReadonlyArray<string> =>
  one._tag === "Unreadable" ? [] : one.overrides.slice(1).map((other) => `${"also".padEnd(16)}${overrideText(other)}`)

const rejectedLine = ({ calls, processes }: RejectedCalls): string =>
  `${"rejected".padEnd(16)}at least ${plural(calls, "call")} (all keys; snapshots of ${plural(processes, "process", "processes")})`

export interface ShowInput {
  readonly name: string
  readonly key: Option.Option<string>
  readonly sort: Sort
  readonly limit: Option.Option<number>
  readonly wide: boolean
}

/**
 * The circuits of a name. A single circuit is shown in full. Of several, the circuit without a key is shown in full, and the others in
 * columns.
 */
const toDetails = (
  found: ReadonlyArray<One>,
  { limit, sort, wide: _, ...input }: ShowInput,
  at: number,
  on: Screen
) => {
  const [first] = found
  if (Option.isSome(input.key) || found.length === 1) return found.map((one) => details(one, at, on)).join("\n\n")
  const keyed = found.filter(({ key }) => key !== undefined)
  const choice = { name: undefined, states: [], sort, limit: Option.getOrUndefined(limit), keys: true }
  const { left, text } = toTable(chosen(keyed, choice), choice, at, on, ["CIRCUIT"])
  return [
    ...(first === undefined || first.key !== undefined ? [] : [details(first, at, on), ""]),
    text,
    ...(left === 0 ? [] : [`and ${left} more`]),
    "",
    `${plural(keyed.length, "key")} not closed`
  ].join("\n")
}

const isDown = (one: One): boolean => one._tag === "Known" && /^(Open|HalfOpen|Isolated)$/.test(one.state)

export const show = (input: ShowInput, settings: CommandSettings) =>
  Effect.gen(function* () {
    const { name } = input
    const only = Option.getOrUndefined(input.key)
    const { closed, found, hint } = yield* withStore(settings, (store, opened) =>
      Effect.gen(function* () {
        const own = yield* asked(opened, () => Operator.inspect(store, name, only === undefined ? {} : { key: only }))
        const { circuits } = yield* listed(store, opened)
        const keyed = only === undefined ? circuits.filter((one) => one.name === name && one.key !== undefined) : []
        const found: ReadonlyArray<One> = own === undefined ? keyed : [own, ...keyed]
        if (found.length > 0) return { found, hint: "", closed: undefined }
        const { names, overview } = yield* knownNames(store, opened, settings, name)
        const used = overview?.names.find((one) => one.name === name)
        return { found, hint: names.has(name) ? "" : didYouMean(name, names), closed: closedText(used) }
      })
    )
    const at = yield* Clock.currentTimeMillis
    const since = found.filter(isDown).reduce((first, one) => Math.min(first, startOf(one)), Infinity)
    const rejected = since === Infinity ? undefined : yield* rejectedSince(settings, name, since)
    const on = yield* screen(input.wide)
    const text =
      found.length === 0
        ? only === undefined && closed !== undefined
          ? closed
          : `The store has no record of ${printableCircuit(name, only)}: the circuit is closed, or no process uses it.${hint}`
        : [toDetails(found, input, at, on), ...(rejected === undefined ? [] : [rejectedLine(rejected)])].join("\n")
    yield* answer(settings.json, { circuits: found.map(toData), rejected }, new Painted(text))
  })

// ---- Live -----------------------------------------------------------------------------------------------------------

const clear = "\u001b[2J\u001b[H"

/** The lines of a live screen that are not rows of its table: title, heads, the number of hidden rows, summary, and blank lines. */
const otherLines = 7

/** The choice, limited to the rows that fit on a live screen. */
const withinScreen = (choice: Choice): Choice => {
  const room = Math.max(1, (process.stdout.rows || Infinity) - otherLines)
  return room === Infinity ? choice : { ...choice, limit: Math.min(choice.limit ?? Infinity, room) }
}

/**
 * The parts of a list that count as a change. Durations change at every read, and times may differ by a millisecond, so both are left
 * out.
 */
const gist = (processes: number, circuits: ReadonlyArray<One>): string =>
  JSON.stringify([processes, circuits.map((one) => [one.name, one.key, one.epoch, stateOf(one)])])

/** Shows the circuits again whenever the store announces a change, and at least once per interval. */
const watching = (
  input: Chosen & { readonly every: number },
  settings: CommandSettings,
  live: boolean,
  last: { gist: string }
) => {
  const choice = toChoice(input)
  const look = (store: SharedStore, opened: OpenedServer) =>
    Effect.gen(function* () {
      const at = yield* Clock.currentTimeMillis
      const on = yield* screen(input.wide)
      const draw = (text: string) =>
        Effect.sync(() => process.stdout.write(`${clear}${opened.server.label}  ${iso(at)}\n\n${text}\n`))
      if (input.all) {
        const all = yield* overviewOn(store, opened)
        if (live) return yield* draw(overviewText(all, withinScreen(choice), at, on))
        // Rates change all the time.
        const text = settings.json
          ? toJson({ at: iso(at), ...overviewData(all, choice) })
          : `${iso(at)}\n${overviewText(all, choice, at, on)}\n`
        return yield* Console.log(text)
      }
      const all = yield* listed(store, opened)
      if (live) return yield* draw(toText(all, withinScreen(choice), at, on))
      const seen = gist(all.processes, chosen(all.circuits, choice))
      if (seen === last.gist) return
      last.gist = seen
      yield* Console.log(
        settings.json
          ? toJson({ at: iso(at), ...toListData(all, choice) })
          : `${iso(at)}\n${toText(all, choice, at, on)}\n`
      )
    })
  return withStore(settings, (store, opened) =>
    Effect.scoped(
      Effect.gen(function* () {
        const heard = yield* Queue.sliding<void>(1)
        const hearing = Stream.runForEach(store.changes, () => Queue.offer(heard, undefined))
        // A store that announces nothing is read once per interval. A subscription that ended is replaced.
        yield* Effect.forkScoped(Effect.repeat(Effect.ignoreCause(hearing), Schedule.spaced("1 second")))
        // With --all each line is a sample, so announcements do not add any.
        const pause =
          input.all && !live ? Effect.sleep(input.every) : Effect.timeoutOption(Queue.take(heard), input.every)
        yield* Effect.forever(Effect.andThen(look(store, opened), pause))
      })
    )
  )
}

export const watch = (input: Chosen & { readonly every: number }, settings: CommandSettings) => {
  const live = process.stdout.isTTY === true && !settings.json
  const again = (failure: CommandFailure) =>
    failure.code === 2 ? Effect.andThen(report(failure, settings.json), Effect.sleep("1 second")) : Effect.fail(failure)
  // Kept while the store fails, so that the same list is not printed again afterwards.
  const last = { gist: "" }
  const shown = Effect.forever(Effect.catchTag(watching(input, settings, live, last), "Failure", again))
  return Effect.andThen(checkChoice(input, "watch"), shown)
}
