/** Plays the policies of the settings in workers. */
import type { PlayReport } from "../src/simulator/figures.ts"
import type { PlayResponse } from "./messages.ts"
import { mostPolicies, type Settings } from "./settings.ts"
import { playOf } from "./simulation.ts"

export interface Played {
  readonly settings: Settings
  readonly reports: ReadonlyArray<PlayReport>
}

interface Player {
  readonly worker: Worker
  /** What was played last, as JSON, and its result. A policy whose settings have not changed is not played again. */
  played: string
  response: PlayResponse | undefined
}

const playIn = (player: Player, settings: Settings, index: number): Promise<PlayResponse> => {
  const policy = settings.policies[index]
  if (policy === undefined) return Promise.resolve({ problem: "no such policy" })
  const options = playOf(settings, policy)
  const asked = JSON.stringify(options)
  const { response } = player
  if (player.played === asked && response !== undefined) return Promise.resolve(response)
  return new Promise((resolve) => {
    const done = (response: PlayResponse) => {
      player.played = asked
      player.response = response
      resolve(response)
    }
    player.worker.onmessage = ({ data }: MessageEvent<PlayResponse>) => done(data)
    player.worker.onerror = (event) => done({ problem: event.message || "the worker does not start" })
    player.worker.postMessage({ options })
  })
}

/**
 * Returns a function that plays settings and then calls `show`. While a simulation runs, only the latest settings wait: a slider that moves
 * faster than the simulation skips values, and never builds up a queue.
 */
export const simulations = (
  start: () => Worker,
  show: (played: Played) => void,
  fail: (problem: string) => void
): ((settings: Settings) => void) => {
  const players: Array<Player> = []
  let waiting: Settings | undefined
  let running = false
  const run = async (): Promise<void> => {
    running = true
    while (waiting !== undefined) {
      const settings = waiting
      waiting = undefined
      const responses = await Promise.all(
        settings.policies.slice(0, mostPolicies).map((_, i) => {
          const player = players[i] ?? { worker: start(), played: "", response: undefined }
          players[i] = player
          return playIn(player, settings, i)
        })
      )
      const problem = responses.find((one) => one.problem !== undefined)?.problem
      if (problem !== undefined) fail(problem)
      else show({ settings, reports: responses.flatMap(({ report }) => (report === undefined ? [] : [report])) })
    }
    running = false
  }
  return (settings) => {
    waiting = settings
    if (!running) void run()
  }
}
