import * as Context from "effect/Context"

export const CurrentTenant: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "effect-fuse/Tenant/Current",
  { defaultValue: () => undefined }
)
