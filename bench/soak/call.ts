/** One call of a worker, and the lines that it writes to the journal. */
import { Effect, Exit } from "effect"
import { type BreakerStore, CircuitBreaker, type CircuitOpen } from "effect-fuse"
import { answer } from "./dependency.ts"
import { write } from "./journal.ts"
import { type CallLine, type Mood, type Name, now } from "./lines.ts"

let ids = 0

/** Calls that have not ended. */
export const open = new Set<CallLine>()

type Tagged = { readonly _tag: string; readonly id?: number }

/** An exit as text. Equal exits have equal texts. */
const say = (exit: Exit.Exit<unknown, Tagged>): string => {
  if (Exit.isSuccess(exit)) return `ok ${exit.value}`
  const [reason] = exit.cause.reasons.filter(({ _tag }) => _tag !== "Interrupt")
  if (reason === undefined) return "interrupted"
  if (reason._tag === "Fail") return `fail ${reason.error._tag} ${reason.error.id ?? ""}`
  return `die ${reason._tag === "Die" ? String(reason.defect) : ""}`
}

const rejectionOf = (exit: Exit.Exit<unknown, Tagged | CircuitOpen.CircuitOpen>): CallLine["rejection"] => {
  if (Exit.isSuccess(exit)) return undefined
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (error === undefined || !("reason" in error)) return undefined
  return { reason: error.reason, state: error.state, scope: error.scope }
}

/** How many milliseconds a caller waits before it interrupts its call; 0 means until the call ends. */
const patienceOf = (): number => (Math.random() < 0.05 ? 1 + Math.random() * 30 : 0)

export const oneCall = (c: Name, mood: () => Mood): Effect.Effect<void, never, BreakerStore.BreakerStore> =>
  Effect.suspend(() => {
    const line: CallLine = { k: "call", id: ++ids, c, began: now(), patience: patienceOf() }
    open.add(line)
    const inner = Effect.flatMap(CircuitBreaker.inspect(c), ({ epoch, scope, state }) => {
      Object.assign(line, { admitted: now(), epoch, scope, state })
      if (state === "HalfOpen") write({ k: "probe", t: now(), id: line.id, c, scope })
      return Effect.onExit(answer(mood(), line.id), (exit) =>
        Effect.sync(() => Object.assign(line, { ended: now(), inner: say(exit) }))
      )
    })
    const ended = Effect.onExit(CircuitBreaker.protect(inner, c), (exit) =>
      Effect.sync(() => {
        open.delete(line)
        const rejection = rejectionOf(exit)
        write({ ...line, done: now(), outer: say(exit), ...(rejection === undefined ? {} : { rejection }) })
      })
    )
    return Effect.ignoreCause(line.patience === 0 ? ended : Effect.timeoutOption(ended, line.patience))
  })
