/** A promise, and how to find where it was broken. */
import type { History } from "../history.ts"

export interface Check {
  readonly name: string
  /** The violations, one text for each. Empty if the promise was kept. */
  readonly find: (history: History) => ReadonlyArray<string>
}

export const at = (t: number): string => `${t.toFixed(1)}`
