import { Context, type Effect } from "effect"

// A call with two errors and a service, for tests of types.

export class Refused {
  readonly _tag = "Refused"
  readonly status: number = 503
}
export class Missing {
  readonly _tag = "Missing"
}
export class Http extends Context.Service<Http, { readonly get: Effect.Effect<string, Refused | Missing> }>()(
  "test/Http"
) {}
