import * as Context from "effect/Context"

/** The members of pools that the copies of one hedged call, and their retries, have called. */
export interface Copies {
  readonly called: Array<object>
}

/** The hedged call that a fiber belongs to. A pool sends each of its copies to another member. */
export const CurrentCopies: Context.Reference<Copies | undefined> = Context.Reference<Copies | undefined>(
  "effect-fuse/HedgedCopies",
  { defaultValue: () => undefined }
)
