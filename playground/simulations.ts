/** Plays each policy in its own worker. */
import type { PlayReport } from "../src/simulator/figures.ts"
import type { PlayOptions } from "../src/simulator/playOptions.ts"
import type { PlayResponse } from "./messages.ts"
import type { Settings } from "./settings.ts"
import { playOf } from "./simulation.ts"

export interface Played {
  readonly settings: Settings
  readonly reports: ReadonlyArray<PlayReport>
}

interface Player {
  readonly worker: Worker
  /** `true` after the worker failed. The next settings then start another worker. */
  broken: boolean
  /** Stores the last options as JSON, and their result. If the options stay the same, the page shows this result. */
  last?: { readonly asked: string; readonly response: PlayResponse }
}

const playIn = (player: Player, options: PlayOptions): Promise<PlayResponse> => {
  const asked = JSON.stringify(options)
  if (player.last?.asked === asked) return Promise.resolve(player.last.response)
  return new Promise((resolve) => {
    const done = (response: PlayResponse) => {
      player.last = { asked, response }
      resolve(response)
    }
    player.worker.onmessage = ({ data }: MessageEvent<PlayResponse>) => done(data)
    player.worker.onerror = ({ message }) => {
      player.broken = true
      resolve({ problem: message || "the worker does not start" })
    }
    player.worker.postMessage({ options })
  })
}

/**
 * Returns a function that plays settings and then calls `show`. While a simulation runs, only the latest settings wait. If a slider moves
 * faster than the simulation, the page skips some values.
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
        settings.policies.map((policy, i) => {
          const before = players[i]
          const player: Player = before === undefined || before.broken ? { worker: start(), broken: false } : before
          players[i] = player
          return playIn(player, playOf(settings, policy))
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
