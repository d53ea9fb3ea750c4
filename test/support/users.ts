import { Effect, type Layer, Schema, Stream } from "effect"
import { Rpc, RpcGroup, RpcSchema } from "effect/rpc"
import { RpcServerBreaker } from "effect-fuse/rpc"

export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { id: Schema.Number }) {}
export class Gone extends Schema.TaggedError<Gone>()("Gone", {}) {}

const procedures = [
  Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.String, error: NotFound }),
  Rpc.make("AddUser", { payload: { name: Schema.String } }),
  Rpc.make("WatchUsers", { success: RpcSchema.Stream(Schema.String, Gone) })
] as const

/** The group has three procedures: one has a typed error, one has no typed error, and one returns a stream. */
export class Users extends RpcGroup.make(...procedures) {}

/** The same group, with the middleware. */
export class GuardedUsers extends RpcGroup.make(...procedures).middleware(RpcServerBreaker.Middleware) {}

/** Makes handlers for all procedures. `some` replaces handlers. */
export const usersWith = (some: Partial<RpcGroup.HandlersFrom<RpcGroup.Rpcs<typeof Users>>>) =>
  Users.toLayer({
    GetUser: ({ id }) => Effect.succeed(`user ${id}`),
    AddUser: () => Effect.void,
    WatchUsers: () => Stream.make("a", "b"),
    ...some
  }) as Layer.Layer<Rpc.ToHandler<RpcGroup.Rpcs<typeof Users>>>
