import { createInterface } from "node:readline"
import { Effect, Exit, Layer, Logger, Scope, Stream } from "effect"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { outcome, type Replica } from "./redisFleet.ts"
import { client } from "./redisServer.ts"

/** What a process is started with. */
export interface Setup {
  readonly url: string
  /** How it is called in events. */
  readonly name: string
  /** How many replicas it has; each is like a process of its own. */
  readonly replicas: number
  readonly syncInterval: number
  readonly policy: BreakerPolicy.Input
  /** So many calls of `api` are made as soon as there are circuits, before anything else. */
  readonly callsAtOnce: number
  /** What calls then find; and whether they go on, in each replica one every so many milliseconds. */
  readonly dependency: "up" | "down"
  readonly callEvery: number | undefined
}

export interface Move {
  readonly circuit: string
  readonly key: string | undefined
  readonly to: string
  readonly scope: string
  readonly process: string | undefined
  readonly detail: string | undefined
}

/** What a process can be asked, with what it answers. */
export interface Asks {
  /** One call in each replica: what the caller gets. */
  readonly call: {
    readonly ask: { readonly circuit: string; readonly finds: "up" | "down" }
    readonly answer: Array<string>
  }
  /** A call that never ends by itself, in the first replica. */
  readonly hang: { readonly ask: { readonly circuit: string }; readonly answer: null }
  /** So many failing calls in the first replica, at a time of the wall clock, in the circuit of a key. */
  readonly fail: {
    readonly ask: { readonly key: string; readonly times: number; readonly at: number }
    readonly answer: Array<string>
  }
  readonly standing: {
    readonly ask: { readonly circuit: string; readonly key?: string }
    readonly answer: Array<{
      state: string
      scope: string
      detail: string | undefined
      openings: number
      calls: number
    }>
  }
  readonly isolate: { readonly ask: { readonly circuit: string }; readonly answer: null }
  /** What calls found that were made at once, and all calls since that reached the dependency. */
  readonly report: {
    readonly ask: object
    readonly answer: { readonly atOnce: Array<string>; readonly reached: number; readonly moves: Array<Move> }
  }
  /** Ends it in good order. */
  readonly end: { readonly ask: object; readonly answer: null }
}

const main = (setup: Setup) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const redis = yield* Layer.buildWithScope(client(setup.url), scope)
    const dependency = { is: setup.dependency, reached: 0 }
    const moves: Array<Move> = []
    const atOnce: Array<string> = []
    const replicas: Array<Replica> = []

    const calls = (circuit: string, finds: () => "up" | "down", key?: string) =>
      outcome(
        CircuitBreaker.protect(
          Effect.suspend(() => {
            dependency.reached++
            return finds() === "up" ? Effect.succeed("ok") : Effect.fail("down")
          }),
          circuit,
          { key }
        )
      )
    const build = Effect.gen(function* () {
      const policies = BreakerPolicy.layer({ default: setup.policy })
      const { name: process, syncInterval } = setup
      const store = RedisStore.layer({ process, syncInterval }).pipe(Layer.provide(Layer.succeedContext(redis)))
      const context = yield* Layer.buildWithScope(Layer.provideMerge(store, policies), scope)
      const replica: Replica = { run: (effect) => Effect.provideContext(effect, context), end: Effect.void }
      const listen = Stream.runForEach(CircuitBreaker.events, (event) =>
        Effect.sync(() => {
          if (event._tag !== "Transition") return
          const { circuit, detail, key, process, scope, to } = event
          moves.push({ circuit, detail, key, process, scope, to })
        })
      )
      yield* Effect.forkDetach(replica.run(listen), { startImmediately: true })
      for (let i = 0; i < setup.callsAtOnce; i++) atOnce.push(yield* replica.run(calls("api", () => dependency.is)))
      replicas.push(replica)
      if (setup.callEvery === undefined) return
      const call = Effect.andThen(replica.run(calls("api", () => dependency.is)), Effect.sleep(setup.callEvery))
      yield* Effect.forkIn(Effect.forever(call), scope)
    })
    yield* Effect.all(
      Array.from({ length: setup.replicas }, () => build),
      { concurrency: "unbounded" }
    )
    const first = replicas[0]
    if (first === undefined) return yield* Effect.die("no replicas")

    const answers: { readonly [A in keyof Asks]: (ask: Asks[A]["ask"]) => Effect.Effect<Asks[A]["answer"], unknown> } =
      {
        call: ({ circuit, finds }) => Effect.forEach(replicas, (one) => one.run(calls(circuit, () => finds))),
        hang: ({ circuit }) =>
          Effect.as(Effect.forkDetach(first.run(outcome(CircuitBreaker.protect(Effect.never, circuit)))), null),
        fail: ({ at, key, times }) =>
          Effect.andThen(
            Effect.sleep(Math.max(0, at - Date.now())),
            Effect.forEach(Array.from({ length: times }), () => first.run(calls("api", () => "down", key)))
          ),
        standing: ({ circuit, key }) =>
          Effect.forEach(replicas, (one) =>
            Effect.map(
              one.run(CircuitBreaker.inspect(circuit, { key })),
              ({ cause, openings, scope, state, totals: { calls } }) => ({
                state,
                scope,
                detail: cause?.detail,
                openings,
                calls
              })
            )
          ),
        isolate: ({ circuit }) => Effect.as(first.run(CircuitBreaker.isolate(circuit, { reason: "drill" })), null),
        report: () => Effect.succeed({ atOnce, reached: dependency.reached, moves }),
        end: () => Effect.as(Scope.close(scope, Exit.void), null)
      }
    const write = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
    write({ ready: true })
    const lines = createInterface({ input: process.stdin })
    lines.on("line", (line) => {
      const { ask, id, what } = JSON.parse(line)
      const answer = answers[what as "report"](ask) as Effect.Effect<unknown, unknown>
      Effect.runPromise(Effect.provide(answer, Logger.layer([]))).then(
        (answer) => {
          write({ id, answer })
          if (what === "end") process.stdout.end(() => process.exit(0))
        },
        (error) => write({ id, error: String(error) })
      )
    })
    // Whoever started it is gone.
    lines.on("close", () => process.exit(1))
  })

Effect.runPromise(Effect.provide(main(JSON.parse(process.argv[2] ?? "{}")), Logger.layer([]))).catch((error) => {
  process.stderr.write(`${error}\n`)
  process.exit(1)
})
