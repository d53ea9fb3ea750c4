/**
 * Measures how much time `RpcClientBreaker` adds to a call. The calls do not use a network, so a call itself takes little time.
 *
 *     npm run bench:rpc
 */
import { Effect, Layer, Logger, ManagedRuntime, Schema, Scope } from "effect"
import { Rpc, RpcGroup, RpcTest } from "effect/rpc"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { type Case, measure } from "./measure.ts"

class Users extends RpcGroup.make(
  Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.Number })
).middleware(RpcServerBreaker.Middleware) {}

const handlers = Users.toLayer({ GetUser: ({ id }) => Effect.succeed(id) })
const runtime = ManagedRuntime.make(
  Layer.mergeAll(handlers, RpcServerBreaker.layer(), BreakerStore.layerMemory, Logger.layer([]))
)
const scope = Scope.makeUnsafe()

type Service = { readonly GetUser: (payload: { readonly id: number }) => Effect.Effect<number, unknown> }

type Services = ManagedRuntime.ManagedRuntime.Services<typeof runtime>

const made = <E>(self: Effect.Effect<Service, E, Services | Scope.Scope>) =>
  runtime.runPromise(Scope.provide(self, scope))
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

// Other work of the machine only adds time, so the ratio compares the fastest rounds.
const figures = await measure(
  clients.map(([name, client]) => ({ name, run: calling(client), calls: 500 })),
  200
)
const base = figures[0]?.lowest ?? Number.NaN
for (const { lowest, name, nanos } of figures) {
  const [fastest, median] = [lowest, nanos].map((one) => (one / 1_000).toFixed(2))
  console.log(`${name.padEnd(36)} ${fastest} µs (median ${median})  ${(lowest / base).toFixed(2)}`)
}
await runtime.dispose()
