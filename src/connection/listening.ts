import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { warnOf } from "./watched.ts"

/** How long a subscription may be quiet before a test. Each process waits a random time from this to twice this. */
const quietMillis = 20_000

/** How long an announcement may take to arrive. */
const answerMillis = 5_000

/** A connection is silent after this many own announcements in a row did not arrive. */
const mostMissed = 2

/** After each silent connection, the time before the next test doubles, up to this factor. */
const mostLater = 16

export interface Times {
  readonly quietMillis: number
  readonly answerMillis: number
}

/**
 * Finds out whether the connection of a subscription is silent. If nothing arrives for a while, the process announces something
 * empty. If that does not arrive, either, the stream fails, so that the caller subscribes again.
 *
 * Every process receives each announcement. So one test serves the whole fleet, and none is needed while there are other
 * announcements. If `announce` fails, for example without the right to announce, there is no test.
 */
export const listening = <A, E>(
  what: string,
  announce: Effect.Effect<unknown, unknown>,
  silent: (cause: Error) => E,
  times: Times = { quietMillis, answerMillis }
): ((messages: Stream.Stream<A, E>) => Stream.Stream<A, E>) => {
  let later = 1
  let reported = false
  const announced = Effect.match(Effect.timeout(announce, answerMillis), {
    onFailure: () => false,
    onSuccess: () => true
  })

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
          `${what}: the connection for announcements receives nothing. The process replaces it. Until then, it reads changes every syncInterval`
        )
      })
      const watch = Effect.gen(function* () {
        while (true) {
          const before = heard
          yield* Effect.sleep(times.quietMillis * later * (1 + Math.random()))
          let missed = 0
          while (heard === before && missed < mostMissed && (yield* announced)) {
            yield* Effect.sleep(times.answerMillis)
            if (heard === before) missed++
          }
          if (missed < mostMissed) continue
          yield* report
          return yield* Effect.fail(silent(new Error("no announcement arrives, not even those of this process")))
        }
      })
      return Stream.interruptWhen(
        Stream.tap(messages, () => hear),
        watch
      )
    })
}
