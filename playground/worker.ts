/** Plays policies in a worker, one at a time. */
import * as Effect from "effect/Effect"
import { foreignText } from "../src/core/foreign.ts"
import { play } from "../src/simulator/Simulator.ts"
import type { PlayRequest, PlayResponse } from "./messages.ts"

const answer = ({ options }: PlayRequest): PlayResponse => {
  try {
    return { report: Effect.runSync(play(options)) }
  } catch (error) {
    return { problem: foreignText(error) }
  }
}

addEventListener("message", ({ data }: MessageEvent<PlayRequest>) => postMessage(answer(data)))
