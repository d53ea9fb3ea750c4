/**
 * Measures what `RpcClientBreaker` adds to a call of a procedure, in memory, without a socket: the least that a call can take.
 *
 *     npm run bench:rpc
 */
import { Effect, Layer, ManagedRuntime, Schema, Scope } from "effect"
import { Rpc, RpcGroup, RpcTest } from "effect/rpc"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { type Case, measure } from "./measure.ts"

class Users extends RpcGroup.make(
  Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.Number })
).middleware(RpcServerBreaker.Middleware) {}

const handlers = Users.toLayer({ GetUser: ({ id }) => Effect.succeed(id) })
const runtime = ManagedRuntime.make(Layer.mergeAll(handlers, RpcServerBreaker.layer(), BreakerStore.layerMemory))
const scope = Scope.makeUnsafe()

type Service = { readonly GetUser: (payload: { readonly id: number }) => Effect.Effect<number, unknown> }

const made = <E, R>(self: Effect.Effect<Service, E, R>) =>
  runtime.runPromise(Scope.provide(self, scope) as Effect.Effect<Service>)
const bare = RpcTest.makeClient(Users)

const calling =
  ({ GetUser }: Service): Case["run"] =>
  (n) => {
    let i = 0
    const call = Effect.ignore(Effect.suspend(() => GetUser({ id: i })))
    return runtime.runPromise(Effect.whileLoop({ while: () => i < n, body: () => call, step: () => i++ }))
  }

const byProcedure = { key: ({ procedure }: { readonly procedure: string }) => procedure }
const clients = [
  ["bare", await made(bare)],
  ["protect", await made(RpcClientBreaker.protect(bare, Users, "protect"))],
  ["protect, a key for each procedure", await made(RpcClientBreaker.protect(bare, Users, "keys", byProcedure))],
  [
    "standard, with retries",
    await made(RpcClientBreaker.standard(bare, Users, "standard", { idempotent: ["GetUser"] }))
  ],
  ["protect, open", await made(RpcClientBreaker.protect(bare, Users, "open"))]
] as const
await runtime.runPromise(CircuitBreaker.isolate("open", { for: "1 hour" }))

const figures = await measure(
  clients.map(([name, client]) => ({ name, run: calling(client), calls: 10_000 })),
  15
)
const base = figures[0]?.nanos ?? Number.NaN
for (const { highest, lowest, name, nanos } of figures) {
  const [middle, low, high] = [nanos, lowest, highest].map((one) => (one / 1_000).toFixed(2))
  console.log(`${name.padEnd(36)} ${middle} µs (${low} to ${high})  ${(nanos / base).toFixed(2)}`)
}
await runtime.dispose()
