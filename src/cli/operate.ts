import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type ActionName, operatorActions } from "../core/operatorActions.ts"
import { printable, printableCircuit } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { by } from "./actor.ts"
import { asked, ending, overrideData, overrideText, toData } from "./circuits.ts"
import { answer, CommandFailure, lasting } from "./messages.ts"
import { didYouMean, knownNames } from "./names.ts"
import { withStore } from "./opening.ts"
import { confirm } from "./question.ts"
import { record } from "./recording.ts"
import type { OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

/** The arguments of every command that changes a circuit. */
export interface OperateInput {
  readonly name: string
  readonly key: Option.Option<string>
  readonly reason: Option.Option<string>
  readonly actor: Option.Option<string>
  readonly new: boolean
  readonly yes?: boolean
  readonly for?: Option.Option<number>
}

/** The question before an action. A harmless action has none. */
const questions: { readonly [Name in ActionName]?: (all: string, circuit: string, duration: string) => string } = {
  isolate: (all, circuit, duration) => `${all} will reject every call of ${circuit} ${duration}.`,
  disable: (all, circuit, duration) =>
    `${all} will let every call of ${circuit} through ${duration}, without counting failures.`,
  open: (all, circuit, duration) => `${all} will reject calls of ${circuit} ${duration}, and will then probe.`,
  reset: (all, circuit) => `${all} will close ${circuit}, end its overrides and forget its past openings.`
}

/** A sentence that lists the overrides of other operators that the action would end. Empty if there are none. */
const endsOfOthers = (
  action: ActionName,
  circuit: string,
  before: Operator.Known | Operator.Unreadable | undefined,
  actor: string | undefined
): string => {
  if (before === undefined || before._tag === "Unreadable") return ""
  // An override without an actor may be of another operator.
  const others = before.overrides.filter((one) => one.actor === undefined || one.actor !== actor)
  if (others.length === 0) return ""
  const those = others.length === 1 ? "an override" : `${others.length} overrides`
  return `${action} will end ${those} of ${circuit} that another operator has set: ${others.map(overrideText).join("; ")}.`
}

/** Advises the operator about an unknown name. */
const newAdvice = (overview: Operator.Overview | undefined): string => {
  const { digests = 0, leftOut = 0, processes = 0 } = overview ?? {}
  if (processes > 0 && digests === processes && leftOut === 0) {
    return `${processes === 1 ? "The live process does not use" : `The ${processes} live processes do not use`} this name. If the name is right, add --new.`
  }
  return digests === 0
    ? "A circuit that has never failed is not in the store. If the name is right, add --new."
    : `The names of some processes are not known (${digests} of ${processes} send a digest, ${leftOut} names did not fit). If the name is right, add --new.`
}

/** Refuses a name that no process uses, and that neither the store nor the trail knows: it is probably mistyped. */
const refuseUnknown = (store: SharedStore, opened: OpenedServer, settings: CommandSettings, name: string) =>
  Effect.gen(function* () {
    const { failures, names, overview } = yield* knownNames(store, opened, settings, name)
    if (names.has(name)) return
    const unread = failures.map(({ message }) => ` (${message})`).join("")
    const hint = didYouMean(name, names)
    yield* new CommandFailure({
      code: 3,
      message: `The store knows no circuit named ${printableCircuit(name, undefined)}.${hint}${unread}`,
      advice: newAdvice(overview)
    })
  })

const actionCommand = (action: ActionName, take: (typeof Operator)[ActionName]) => {
  const asks = questions[action]
  const { defaultMillis = 0, overrides } = operatorActions[action]
  return (input: OperateInput, settings: CommandSettings) =>
    withStore(settings, (store, opened) =>
      Effect.gen(function* () {
        const { actor, name, reason } = input
        const key = Option.getOrUndefined(input.key)
        const target = key === undefined ? {} : { key }
        const millis = input.for && Option.getOrUndefined(input.for)
        const before = yield* asked(opened, () => Operator.inspect(store, name, target))
        const isUnknown = before === undefined && !input.new
        const ended =
          overrides === "ended" ? endsOfOthers(action, printableCircuit(name, key), before, by(actor).actor) : ""
        if (isUnknown || asks !== undefined) {
          const { processes } = yield* asked(opened, () => Operator.list(store))
          if (isUnknown) yield* refuseUnknown(store, opened, settings, name)
          if (asks !== undefined) {
            const all = processes === 0 ? "All processes (none is alive now)" : `All processes (${processes} now)`
            const question = asks(all, printableCircuit(name, key), forHowLong(millis ?? defaultMillis))
            yield* confirm(ended === "" ? question : `${question} ${ended}`, input.yes === true, settings)
          }
        }
        if (asks === undefined && ended !== "") {
          yield* confirm(ended, input.yes === true, settings)
        }
        const known = yield* asked(opened, () =>
          take(store, name, {
            ...target,
            ...(Option.isNone(reason) ? {} : { reason: reason.value }),
            ...(millis === undefined ? {} : { for: millis }),
            ...by(actor)
          })
        )
        yield* record(settings, opened, [known.transition])
        if (before === undefined && key !== undefined && !settings.json) {
          yield* Console.error(
            `The store had no record of ${printableCircuit(name, key)} before. Is that the right key?`
          )
        }
        const data = { ...toData(known), ended: known.ended.map(overrideData) }
        yield* answer(settings.json, data, resultText(known, yield* Clock.currentTimeMillis))
      })
    )
}

/** How long an override or an opening lasts, at the end of a sentence. */
const forHowLong = (millis: number): string => (millis === Infinity ? "until it is released" : `for ${lasting(millis)}`)

/** A sentence about the state of a circuit. */
const resultText = (known: Operator.Done, at: number): string => {
  const ends = ending(known, at)
  const beneath = known.beneath === "Open" ? ", Open beneath" : ""
  const why = known.reason === undefined ? "" : `: ${printable(known.reason)}`
  const first = `${printableCircuit(known.name, known.key)} is ${known.state}${beneath}${ends === "" ? "" : `, ends ${ends}`}${why}`
  const also = known.overrides.slice(1).map((one) => `also: ${overrideText(one)}`)
  return [first, ...also, ...known.ended.map((one) => `ended: ${overrideText(one)}`)].join("\n")
}

export const isolate = actionCommand("isolate", Operator.isolate)
export const disable = actionCommand("disable", Operator.disable)
export const release = actionCommand("release", Operator.release)
export const open = actionCommand("open", Operator.open)
export const close = actionCommand("close", Operator.close)
export const reset = actionCommand("reset", Operator.reset)
