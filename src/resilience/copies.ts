import * as Context from "effect/Context"

/** The pool members that the copies of one hedged call have called, including the retries of the copies. */
export interface Copies {
  readonly called: Array<object>
}

/** The hedged call that the current fiber belongs to. A pool sends each copy of the call to another member. */
export const CurrentCopies: Context.Reference<Copies | undefined> = Context.Reference<Copies | undefined>(
  "effect-fuse/HedgedCopies",
  { defaultValue: () => undefined }
)
