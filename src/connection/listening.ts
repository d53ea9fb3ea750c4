import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { warnOf } from "./watched.ts"

/** How long a subscription may be quiet before its connection is tried: twice this at most, and a different time in each process. */
const quietMillis = 20_000

/** How long an announcement may take. */
const answerMillis = 5_000

/** How many announcements of its own in a row a subscription may miss. */
const mostMissed = 2

/** After each silent connection, the next one is tried after twice the time. This is the greatest factor. */
const mostLater = 16

export interface Times {
  readonly quietMillis: number
  readonly answerMillis: number
}

/**
 * Judges a subscription by what it hears. If it hears nothing for a while, the process announces something empty. A subscription
 * that does not hear even that is on a connection that is silent, and ends with an error, so that the caller subscribes again.
 *
 * All processes hear each announcement. Therefore a fleet sends one for all of its processes, and none if there is other news.
 * `announce` returns whether the store took it: without the right to announce, nothing is tried.
 */
export const listening = <A, E>(
  what: string,
  announce: Effect.Effect<boolean>,
  silent: () => E,
  times: Times = { quietMillis, answerMillis }
): ((messages: Stream.Stream<A, E>) => Stream.Stream<A, E>) => {
  let later = 1
  let reported = false

  return (messages) =>
    Stream.suspend(() => {
      let heard = 0
      const hear = Effect.sync(() => {
        heard++
        later = 1
        reported = false
      })
      const report = Effect.suspend(() => {
        later = Math.min(later * 2, mostLater)
        if (reported) return Effect.void
        reported = true
        return warnOf(
          what,
          `${what}: the connection that hears announcements is silent, and is replaced; until then changes are read every syncInterval`
        )
      })
      const watch = Effect.gen(function* () {
        while (true) {
          const before = heard
          yield* Effect.sleep(times.quietMillis * later * (1 + Math.random()))
          let missed = 0
          while (heard === before && missed < mostMissed && (yield* announce)) {
            yield* Effect.sleep(times.answerMillis)
            if (heard === before) missed++
          }
          if (missed < mostMissed) continue
          yield* report
          return yield* Effect.fail(silent())
        }
      })
      return Stream.interruptWhen(
        Stream.tap(messages, () => hear),
        watch
      )
    })
}
