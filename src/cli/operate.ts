import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { printable } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { by } from "./actor.ts"
import { asked, ending, overrideData, overrideText, toData, which } from "./circuits.ts"
import { answer, CommandFailure, lasting } from "./messages.ts"
import { didYouMean, knownNames } from "./names.ts"
import { confirm } from "./question.ts"
import { record } from "./recording.ts"
import { type OpenedServer, withStore } from "./server.ts"
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

interface Verb {
  readonly act: (store: SharedStore, name: string, options: Operator.ByHandFor) => ReturnType<typeof Operator.isolate>
  /** The duration if `--for` is not given; `undefined` for an action that does not last. */
  readonly lasts?: string
  /** The question before the action; absent for a harmless action. */
  readonly asks?: (all: string, circuit: string, duration: string) => string
  /** Whether the action ends overrides. It then asks before it ends one that another operator has set. */
  readonly ends?: boolean
}

/** What the action would end that another operator has set, as a sentence; empty if there is nothing. */
const endsOfOthers = (before: Operator.Known | Operator.Unreadable | undefined, actor: string | undefined): string => {
  if (before === undefined || before._tag === "Unreadable") return ""
  // An override without an operator may be of anyone.
  const others = before.overrides.filter((one) => one.actor === undefined || one.actor !== actor)
  return others.length === 0 ? "" : `It ends what another operator has set. ${others.map(overrideText).join(". ")}.`
}

/** Refuses a name that neither the store nor the trail knows: it is probably mistyped. */
const refuseUnknown = (
  opened: OpenedServer,
  settings: CommandSettings,
  name: string,
  listed: ReadonlyArray<Operator.Identity>
) =>
  Effect.gen(function* () {
    if (listed.some((one) => one.name === name)) return
    const { failures, names } = yield* knownNames(opened, settings, name)
    if (names.has(name)) return
    const unread = failures.map(({ message }) => ` (${message})`).join("")
    const hint = didYouMean(name, [...names, ...listed.map(({ name }) => name)])
    yield* new CommandFailure({
      code: 3,
      message: `The store knows no circuit named ${which(name, undefined)}.${hint}${unread}`,
      advice: "A circuit that has never failed is not in the store. If the name is right, add --new."
    })
  })

const steering =
  ({ act, asks, ends, lasts }: Verb) =>
  (input: OperateInput, settings: CommandSettings) =>
    withStore(settings, (store, opened) =>
      Effect.gen(function* () {
        const { actor, name, reason } = input
        const key = Option.getOrUndefined(input.key)
        const target = key === undefined ? {} : { key }
        const millis = input.for === undefined ? undefined : Option.getOrUndefined(input.for)
        const before = yield* asked(opened, () => Operator.inspect(store, name, target))
        const isUnknown = before === undefined && !input.new
        const ended = ends === true ? endsOfOthers(before, by(actor).actor) : ""
        if (isUnknown || asks !== undefined) {
          const { circuits, processes } = yield* asked(opened, () => Operator.list(store))
          if (isUnknown) yield* refuseUnknown(opened, settings, name, circuits)
          if (asks !== undefined) {
            const all = processes === 0 ? "All processes (none is alive now)" : `All processes (${processes} now)`
            const duration = millis === undefined ? (lasts ?? "") : `for ${lasting(millis)}`
            const question = asks(all, which(name, key), duration)
            yield* confirm(ended === "" ? question : `${question} ${ended}`, input.yes === true, settings)
          }
        }
        if (asks === undefined && ended !== "") {
          yield* confirm(`${which(name, key)} is forced. ${ended}`, input.yes === true, settings)
        }
        const known = yield* asked(opened, () =>
          act(store, name, {
            ...target,
            ...(Option.isNone(reason) ? {} : { reason: reason.value }),
            ...(millis === undefined ? {} : { for: millis }),
            ...by(actor)
          })
        )
        yield* record(settings, opened, [known.transition])
        if (before === undefined && key !== undefined && !settings.json) {
          yield* Console.error(`The store had no record of ${which(name, key)} before. Is that the right key?`)
        }
        const data = { ...toData(known), ended: known.ended.map(overrideData) }
        yield* answer(settings.json, data, told(known, yield* Clock.currentTimeMillis))
      })
    )

/** A sentence about the state of a circuit. */
const told = (known: Operator.Done, at: number): string => {
  const ends = ending(known, at)
  const beneath = known.beneath === "Open" ? ", Open beneath" : ""
  const why = known.reason === undefined ? "" : `: ${printable(known.reason)}`
  const first = `${which(known.name, known.key)} is ${known.state}${beneath}${ends === "" ? "" : `, ends ${ends}`}${why}`
  const also = known.overrides.slice(1).map((one) => `also: ${overrideText(one)}`)
  return [first, ...also, ...known.ended.map((one) => `ended: ${overrideText(one)}`)].join("\n")
}

export const isolate = steering({
  act: Operator.isolate,
  lasts: "until it is released",
  asks: (all, circuit, duration) => `${all} will reject every call of ${circuit} ${duration}.`
})

export const disable = steering({
  act: Operator.disable,
  lasts: "until it is released",
  asks: (all, circuit, duration) =>
    `${all} will let every call of ${circuit} through ${duration}, whether it fails or not.`
})

export const open = steering({
  act: Operator.open,
  lasts: "for 30s",
  asks: (all, circuit, duration) => `${all} will reject calls of ${circuit} ${duration}, and then probe.`
})

export const close = steering({ act: Operator.close })

export const release = steering({ act: Operator.release, ends: true })

export const reset = steering({
  act: Operator.reset,
  ends: true,
  asks: (all, circuit) => `${all} will close ${circuit} and forget its openings and overrides.`
})
