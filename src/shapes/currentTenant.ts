import * as Context from "effect/Context"

/** The tenant for whom the current fiber works, if any. */
export const CurrentTenant: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "effect-fuse/Tenant/Current",
  { defaultValue: () => undefined }
)
