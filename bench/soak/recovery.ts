/** Waits after the last fault until all circuits and the store have recovered. Returns the problems that remain. */
import { setTimeout as sleep } from "node:timers/promises"
import { Effect } from "effect"
import type { Field } from "./drive.ts"
import { circuits, now } from "./lines.ts"
import { longestOpeningMillis } from "./policies.ts"

/** The time for the longest opening with its jitter, for a probe, and for all processes to learn of the result. */
const closedWithin = longestOpeningMillis * 1.25 + 5_000

/** The time until dead voters and their ballots expire. Ballots last 10 s, and voters 1.5 sync intervals and 1 s. */
const forgottenWithin = 15_000

const notClosed = async ({ workers }: Field): Promise<ReadonlyArray<string>> => {
  const found = await Promise.all(
    workers.map(async (worker) => {
      const states = await worker.states()
      if (states === undefined) return [`${worker.voice} does not answer`]
      return circuits.flatMap((c) => (states[c] === "Closed" ? [] : [`${c} is ${states[c]} in ${worker.voice}`]))
    })
  )
  return found.flat()
}

const ghosts = async ({ server, workers }: Field): Promise<ReadonlyArray<string>> => {
  const known = new Set(workers.map(({ voice }) => voice))
  const isGhost = (voice: string) => !known.has(voice.split("~")[0] ?? "")
  const { ballots, live } = await Effect.runPromise(server.voters)
  const missing = [...known].filter((voice) => !live.some((one) => one.startsWith(`${voice}~`)))
  return [
    ...live.filter(isGhost).map((voice) => `${voice} is dead, but the store counts it as live`),
    ...missing.map((voice) => `${voice} is alive, but the store does not count it`),
    ...ballots.filter(([voice]) => isGhost(voice)).map(([voice, box]) => `${voice} still has a ballot in ${box}`)
  ]
}

const within = async (millis: number, look: () => Promise<ReadonlyArray<string>>): Promise<ReadonlyArray<string>> => {
  const end = now() + millis
  for (;;) {
    const found = await look()
    if (found.length === 0 || now() > end) return found
    await sleep(200)
  }
}

export const notWell = async (field: Field): Promise<ReadonlyArray<string>> => {
  const open = await within(closedWithin, () => notClosed(field))
  return [...open, ...(await within(forgottenWithin, () => ghosts(field)))]
}
