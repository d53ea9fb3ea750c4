import { expectTypeOf, it } from "@effect/vitest"
import { type Cause, Context, type Effect, Layer, pipe, type Queue, type Scope, type Stream } from "effect"
import { type Rpc, RpcClient, type RpcClientError, type RpcGroup, RpcTest } from "effect/rpc"
import type { BreakerStore, CircuitOpen } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { type Gone, GuardedUsers, type NotFound, Users } from "./support/users.ts"

type Open = CircuitOpen.CircuitOpen
type Store = BreakerStore.BreakerStore
type Transport = RpcClientError.RpcClientError
type Handlers = Rpc.ToHandler<RpcGroup.Rpcs<typeof Users>>

it("protect adds CircuitOpen to the errors of each procedure, in pipe and out of it", () => {
  const piped = pipe(RpcClient.make(Users), RpcClientBreaker.protect(Users, "users"))
  const called = RpcClientBreaker.protect(RpcClient.make(Users), Users, "users", { key: "a" })
  type Client = RpcClient.FromGroup<typeof Users, Transport | Open>
  expectTypeOf(piped).toEqualTypeOf<Effect.Effect<Client, never, Scope.Scope | RpcClient.Protocol | Store>>()
  expectTypeOf(called).toEqualTypeOf<typeof piped>()

  const uses = (client: Client) => {
    expectTypeOf(client.GetUser({ id: 1 })).toEqualTypeOf<Effect.Effect<string, NotFound | Transport | Open>>()
    expectTypeOf(client.AddUser({ name: "a" }, { discard: true })).toEqualTypeOf<
      Effect.Effect<void, Transport | Open>
    >()
    expectTypeOf(client.WatchUsers(undefined)).toEqualTypeOf<Stream.Stream<string, Gone | Transport | Open>>()
    expectTypeOf(client.WatchUsers(undefined, { asQueue: true })).toEqualTypeOf<
      Effect.Effect<Queue.Dequeue<string, Gone | Transport | Open | Cause.Done>, never, Scope.Scope>
    >()
  }
  expectTypeOf(uses).toBeFunction()
})

it("a client without a transport has no error of the transport, and a flat client stays flat", () => {
  const local = RpcTest.makeClient(Users).pipe(RpcClientBreaker.protect(Users, "users"))
  expectTypeOf(local).toEqualTypeOf<
    Effect.Effect<RpcClient.FromGroup<typeof Users, Open>, never, Scope.Scope | Handlers | Store>
  >()
  const flat = RpcClient.make(Users, { flatten: true }).pipe(RpcClientBreaker.protect(Users, "users"))
  const localFlat = RpcTest.makeClient(Users, { flatten: true }).pipe(RpcClientBreaker.protect(Users, "users"))
  // TypeScript treats flat clients with different errors as the same type, so the test compares the results of their calls.
  const uses = (client: Effect.Success<typeof flat>, local: Effect.Success<typeof localFlat>) => {
    expectTypeOf(client("GetUser", { id: 1 })).toEqualTypeOf<Effect.Effect<string, NotFound | Transport | Open>>()
    expectTypeOf(client("WatchUsers", undefined)).toEqualTypeOf<Stream.Stream<string, Gone | Transport | Open>>()
    expectTypeOf(local("GetUser", { id: 1 })).toEqualTypeOf<Effect.Effect<string, NotFound | Open>>()
  }
  expectTypeOf(uses).toBeFunction()
})

it("a client that is protected twice has the errors of both", () => {
  const outer = RpcClientBreaker.standard(Users, "outer")
  const twice = RpcClient.make(Users).pipe(RpcClientBreaker.protect(Users, "users"), outer)
  const flat = RpcClient.make(Users, { flatten: true }).pipe(RpcClientBreaker.protect(Users, "users"), outer)
  type Both = Effect.Effect<string, NotFound | Transport | Open | Cause.TimeoutError>
  const uses = (client: Effect.Success<typeof twice>, call: Effect.Success<typeof flat>) => {
    expectTypeOf(client.GetUser({ id: 1 })).toEqualTypeOf<Both>()
    expectTypeOf(call("GetUser", { id: 1 })).toEqualTypeOf<Both>()
  }
  expectTypeOf(uses).toBeFunction()
})

it("standard also adds TimeoutError, unless it has no timeout", () => {
  const usual = RpcClient.make(Users).pipe(RpcClientBreaker.standard(Users, "users", { idempotent: ["GetUser"] }))
  expectTypeOf<Effect.Success<typeof usual>>().toEqualTypeOf<
    RpcClient.FromGroup<typeof Users, Transport | Open | Cause.TimeoutError>
  >()
  const endless = RpcClientBreaker.standard(RpcClient.make(Users), Users, "users", { timeout: false })
  expectTypeOf<Effect.Success<typeof endless>>().toEqualTypeOf<RpcClient.FromGroup<typeof Users, Transport | Open>>()
})

it("the result is the client of a service that a program declares", () => {
  class Client extends Context.Service<Client, RpcClient.FromGroup<typeof Users, Transport | Open>>()("test/Client") {
    static readonly layer = Layer.effect(Client, RpcClient.make(Users).pipe(RpcClientBreaker.protect(Users, "users")))
  }
  expectTypeOf(Client.layer).toEqualTypeOf<Layer.Layer<Client, never, RpcClient.Protocol | Store>>()
})

it("options know the procedures of the group, their payloads and their errors", () => {
  RpcClientBreaker.protect(Users, "users", {
    key: (call) => {
      expectTypeOf(call.procedure).toEqualTypeOf<"GetUser" | "AddUser" | "WatchUsers">()
      return call.procedure === "GetUser" ? String(call.payload.id) : undefined
    },
    isFailure: (error) => {
      expectTypeOf(error).toEqualTypeOf<NotFound | Gone>()
      return error._tag === "Gone"
    }
  })
  // @ts-expect-error there is no such procedure
  const wrong = () => RpcClientBreaker.standard(Users, "users", { idempotent: ["GetUsers"] })
  // @ts-expect-error there is no such option
  const unknown = () => RpcClientBreaker.standard(Users, "users", { retries: 2 })
  expectTypeOf(wrong).toBeFunction()
  expectTypeOf(unknown).toBeFunction()
})

it("the middleware adds ServiceUnavailable to every procedure, and clients need no layer for it", () => {
  const client = RpcClient.make(GuardedUsers).pipe(RpcClientBreaker.protect(GuardedUsers, "users"))
  expectTypeOf<Effect.Services<typeof client>>().toEqualTypeOf<Scope.Scope | RpcClient.Protocol | Store>()
  const uses = (users: Effect.Success<typeof client>) =>
    expectTypeOf(users.AddUser({ name: "a" })).toEqualTypeOf<
      Effect.Effect<void, RpcServerBreaker.ServiceUnavailable | Transport | Open>
    >()
  expectTypeOf(uses).toBeFunction()
})

it("orUnavailable removes rejections from the error type of an effect or a stream", () => {
  const effect = null as unknown as Effect.Effect<1, NotFound | Open | RpcServerBreaker.ServiceUnavailable, Store>
  const left = () => pipe(effect, RpcServerBreaker.orUnavailable)
  expectTypeOf(left).returns.toEqualTypeOf<Effect.Effect<1, NotFound, Store>>()
  const stream = null as unknown as Stream.Stream<1, Gone | Open>
  const leftOfStream = () => pipe(stream, RpcServerBreaker.orUnavailable)
  expectTypeOf(leftOfStream).returns.toEqualTypeOf<Stream.Stream<1, Gone>>()
})

it("only circuits around handlers need a store", () => {
  expectTypeOf(RpcServerBreaker.layer({ deadline: true })).toEqualTypeOf<Layer.Layer<RpcServerBreaker.Middleware>>()
  expectTypeOf(RpcServerBreaker.layer("users")).toEqualTypeOf<Layer.Layer<RpcServerBreaker.Middleware, never, Store>>()
})
