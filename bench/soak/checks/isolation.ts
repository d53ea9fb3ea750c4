/** An isolated circuit stays isolated in all processes until an operator releases it. */
import { type History, losses, meets, type Span, storeTrouble, type Told } from "../history.ts"
import type { Name } from "../lines.ts"
import { syncMillis } from "../policies.ts"
import { at, type Check } from "./check.ts"

interface Isolation extends Span {
  readonly c: Name
  readonly by: string
}

/** The time from when the store had the isolation until an operator began to release it. */
const isolations = ({ lives }: History): ReadonlyArray<Isolation> => {
  const actions = lives.flatMap(({ life, of }) => of("action").map((action) => ({ ...action, by: life.voice })))
  return actions
    .filter(({ action, scope, state }) => action === "isolate" && scope === "fleet" && state === "Isolated")
    .map(({ by, c, t }) => {
      const releases = actions.filter((other) => other.action === "release" && other.c === c && other.t > t)
      return { c, by, from: t, to: Math.min(...releases.map(({ began }) => began), Infinity) }
    })
}

/** The time to connect again and read the store, and for a process to write again what the store has lost. */
const hearingMillis = 2 * syncMillis + 1_000
const reconnectMillis = 3_500

/** When a process must know the isolation: after enough time without a fault of its store. `Infinity` if the process never started. */
const heardBy = (history: History, { life, of }: Told, isolation: Isolation): number => {
  const up = of("up")[0]?.t
  if (up === undefined) return Infinity
  const trouble = [...storeTrouble(history, life.who, reconnectMillis), ...losses(history)]
  let since = Math.max(up, isolation.from)
  for (const span of [...trouble].sort((a, b) => a.from - b.from)) {
    if (span.from > since + hearingMillis) break
    since = Math.max(since, span.to)
  }
  return since + hearingMillis
}

/** Whether the store had lost the isolation, and no process could write it again. A process that starts then cannot know it. */
const isLost = (history: History, isolation: Isolation, { life }: Told): boolean => {
  const lost = losses(history).filter(({ from, to }) => to > isolation.from && from < isolation.to)
  return lost.some(({ to }) => life.from > isolation.from && meets(storeTrouble(history, "any", 4_000), to, life.from))
}

export const isolation: Check = {
  name: "once the store has an isolation, no call is admitted until it is released",
  find: (history) =>
    isolations(history).flatMap((isolation) =>
      history.lives.flatMap((told) => {
        const { life, of } = told
        if (life.to < isolation.from || life.from > isolation.to || isLost(history, isolation, told)) return []
        const from = heardBy(history, told, isolation)
        return of("call")
          .filter(({ admitted = 0, c }) => c === isolation.c && admitted > from && admitted < isolation.to)
          .slice(0, 1)
          .map(
            (call) =>
              `${isolation.c} isolated by ${isolation.by} from ${at(isolation.from)} to ${at(isolation.to)}: ` +
              `${life.voice} should know since ${at(from)}, but admitted ${JSON.stringify(call)}`
          )
      })
    )
}
