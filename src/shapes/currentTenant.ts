import * as Context from "effect/Context"

/** The tenant of the current fiber. */
export const CurrentTenant: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "effect-fuse/Tenant/Current",
  { defaultValue: () => undefined }
)
