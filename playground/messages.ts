/** The page and its workers exchange these messages. */
import type { PlayReport } from "../src/simulator/figures.ts"
import type { PlayOptions } from "../src/simulator/playOptions.ts"

export interface PlayRequest {
  readonly options: PlayOptions
}

export type PlayResponse =
  | { readonly report: PlayReport; readonly problem?: undefined }
  | { readonly report?: undefined; readonly problem: string }
