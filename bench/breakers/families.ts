import type { Library } from "./library.ts"
import { promiseCases } from "./promises.ts"
import type { Case } from "./sampling.ts"

/** The libraries for functions that return promises, each in a file of its own, so that a process loads only one. */
export const libraries: Readonly<Record<string, () => Promise<{ readonly library: Library }>>> = {
  none: () => import("./libraries/none.ts"),
  effectFuse: () => import("./libraries/effectFuse.ts"),
  opossum: () => import("./libraries/opossum.ts"),
  cockatiel: () => import("./libraries/cockatiel.ts"),
  mollitia: () => import("./libraries/mollitia.ts"),
  alfred: () => import("./libraries/alfred.ts")
}

/** The cases that run in the same process, by the name of the family. */
export const families: Readonly<Record<string, () => Promise<ReadonlyArray<Case>>>> = {
  syncEffects: async () => (await import("./syncEffects.ts")).cases,
  asyncEffects: async () => (await import("./asyncEffects.ts")).cases,
  ...Object.fromEntries(
    Object.entries(libraries).map(([name, load]) => [name, async () => promiseCases((await load()).library)])
  )
}
