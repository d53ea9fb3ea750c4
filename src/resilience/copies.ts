import * as Context from "effect/Context"

/** Records which pool members the copies of one hedged call, and their retries, have called. */
export interface Copies {
  readonly called: Array<object>
}

/** The hedged call that the current fiber belongs to. A pool sends each copy of the call to another member. */
export const CurrentCopies: Context.Reference<Copies | undefined> = Context.Reference<Copies | undefined>(
  "effect-fuse/HedgedCopies",
  { defaultValue: () => undefined }
)
