import { hostname, userInfo } from "node:os"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Operator from "../../Operator.ts"
import { printable } from "../printable.ts"
import { asked, ending, toData, which } from "./circuits.ts"
import { withStore } from "./place.ts"
import { confirm } from "./question.ts"
import { durationFlag, handle, keyFlag, nameArgument, yesFlag } from "./settings.ts"
import { answer, lasting } from "./words.ts"

/** Who does it, if nothing else is said: whoever is logged in. */
const me = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    // A user that the machine has no name for.
    return undefined
  }
}

export const actorFlag = Flag.String("actor").pipe(
  Flag.withMetavar("WHO"),
  Flag.withDescription("Who does it, for logs and the trail (you)"),
  Flag.optional
)

/** What the fleet's events call this program. */
export const processName = `effect-fuse@${hostname()}`

/** Who does something, and as which process. */
export const by = (actor: Option.Option<string>) => ({
  actor: Option.getOrElse(actor, me),
  process: processName
})

const deeds = {
  isolate: Operator.isolate,
  disable: Operator.disable,
  open: Operator.open,
  close: Operator.close,
  release: Operator.release,
  reset: Operator.reset
}

interface Verb {
  readonly deed: keyof typeof deeds
  readonly description: string
  /** What it lasts if nothing is said; nothing where it does not last. */
  readonly lasts?: string
  /** What to ask before it is done; nothing where it is harmless. */
  readonly asks?: (all: string, circuit: string, duration: string) => string
}

const forMillis = (lasts: string) => durationFlag("for", `For how long (${lasts})`).pipe(Flag.optional)

const steering = ({ asks, deed, description, lasts }: Verb) => {
  const flags = {
    name: nameArgument,
    key: keyFlag,
    reason: Flag.String("reason").pipe(
      Flag.withMetavar("TEXT"),
      Flag.withDescription("Why, for logs, the trail and whoever is rejected"),
      Flag.optional
    ),
    actor: actorFlag,
    ...(asks === undefined ? {} : { yes: yesFlag }),
    ...(lasts === undefined ? {} : { for: forMillis(lasts) })
  }
  return Command.make(
    deed,
    flags,
    handle((input, settings) =>
      withStore(settings, (store, opened) =>
        Effect.gen(function* () {
          const { actor, key, name, reason } = input
          const only = Option.getOrUndefined(key)
          const millis = "for" in input && input.for !== undefined ? Option.getOrUndefined(input.for) : undefined
          const before = yield* asked(opened, () =>
            Operator.inspect(store, name, only === undefined ? {} : { key: only })
          )
          if (asks !== undefined) {
            const { processes } = yield* asked(opened, () => Operator.list(store))
            const all = processes === 0 ? "All processes (none is alive now)" : `All processes (${processes} now)`
            const duration = millis === undefined ? (lasts ?? "") : `for ${lasting(millis)}`
            yield* confirm(asks(all, which(name, only), duration), input.yes === true, settings)
          }
          const options = {
            ...(only === undefined ? {} : { key: only }),
            ...(Option.isNone(reason) ? {} : { reason: reason.value }),
            ...(millis === undefined ? {} : { for: millis }),
            ...by(actor)
          }
          const known = yield* asked(opened, () => deeds[deed](store, name, options))
          const text = told(known, yield* Clock.currentTimeMillis)
          if (before === undefined && deed !== "reset" && !settings.json) {
            yield* Console.error("The store had nothing of it before: is that its name?")
          }
          yield* answer(settings.json, toData(known), text)
        })
      )
    )
  ).pipe(Command.withDescription(description))
}

/** What a circuit is now. */
const told = (known: Operator.Known, at: number): string => {
  const ends = ending(known, at)
  const beneath = known.beneath === "Open" ? ", Open beneath" : ""
  const why = known.reason === undefined ? "" : `: ${printable(known.reason)}`
  return `${which(known.name, known.key)} is ${known.state}${beneath}${ends === "" ? "" : `, ends ${ends}`}${why}`
}

export const isolate = steering({
  deed: "isolate",
  description: "Rejects all calls of a circuit, in all processes, until it is released",
  lasts: "until it is released",
  asks: (all, circuit, duration) => `${all} will reject every call of ${circuit} ${duration}.`
})

export const disable = steering({
  deed: "disable",
  description: "Lets all calls of a circuit through, uncounted, in all processes, until it is released",
  lasts: "until it is released",
  asks: (all, circuit, duration) =>
    `${all} will let every call of ${circuit} through ${duration}, whether it fails or not.`
})

export const open = steering({
  deed: "open",
  description: "Opens a circuit as a trip would: it probes and closes by itself",
  lasts: "for 30s",
  asks: (all, circuit, duration) => `${all} will reject calls of ${circuit} ${duration}, and probe then.`
})

export const close = steering({ deed: "close", description: "Closes a circuit that the fleet has opened" })

export const release = steering({ deed: "release", description: "Ends isolate and disable" })

export const reset = steering({
  deed: "reset",
  description: "Makes a circuit as new: closed, no memory of openings, no override",
  asks: (all, circuit) => `${all} will close ${circuit} and forget its openings and overrides.`
})
