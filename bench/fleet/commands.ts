import { Effect } from "effect"
import { CircuitBreaker, type SharedStore } from "effect-fuse"
import { sleep } from "./figures.ts"
import { type Admin, oursOnRedis, theirsOnRedis } from "./stores.ts"

/** The commands that clients send. All others in the statistics of the server were run within a script. */
const sentByClients = /^(evalsha|eval|script\|.*|p?subscribe|unsubscribe|ping|hello|client\|.*|select|quit)$/

export interface Counted {
  readonly calls: number
  /** Commands that clients sent. */
  readonly sent: number
  /** Commands that scripts ran. */
  readonly inner: number
}

export interface CommandsAtRate {
  /** Calls per second; `undefined` means as fast as possible. */
  readonly rate: number | undefined
  readonly millis: number
  readonly ours: Counted & { readonly routine: number }
  readonly theirs: Counted
}

export interface CommandsIdle {
  readonly circuits: number
  readonly syncMillis: number
  readonly millis: number
  readonly sent: number
  readonly operations: Operations
}

/** The operations of a store. An exchange without casts and swaps is a heartbeat, and any other exchange is a write. */
type Operations = Record<"heartbeat" | "write" | "page" | "load", number>

/** The number of operations that a process sends in every sync interval, whatever its circuits do. */
export const routine = ({ heartbeat, page }: Operations): number => heartbeat + page

const noop = Effect.succeed(1)

/** Counts the operations that the engine sends to its store. */
class Counter {
  readonly operations: Operations = { heartbeat: 0, write: 0, page: 0, load: 0 }
  private running = 0

  readonly around = (store: SharedStore.SharedStore): SharedStore.SharedStore => ({
    ...store,
    exchange: (exchange) =>
      this.count(exchange.casts.length + exchange.swaps.length === 0 ? "heartbeat" : "write", store.exchange(exchange)),
    page: (since, limit) => this.count("page", store.page(since, limit)),
    load: (circuits) => this.count("load", store.load(circuits))
  })

  private count<A, E>(name: keyof Operations, operation: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      this.operations[name]++
      this.running++
      return Effect.ensuring(
        operation,
        Effect.sync(() => {
          this.running--
        })
      )
    })
  }

  private get total(): number {
    const { heartbeat, load, page, write } = this.operations
    return heartbeat + write + page + load
  }

  /** The operations of the engine and the commands of the server, read when no request is in flight. */
  async now(server: Admin): Promise<{ readonly asked: Operations; readonly seen: ReadonlyMap<string, number> }> {
    for (;;) {
      const { running, total } = this
      const seen = await server.commands()
      if (running === 0 && this.total === total) return { asked: { ...this.operations }, seen }
      await sleep(10)
    }
  }
}

const difference = (before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>) => {
  let [sent, inner] = [0, 0]
  for (const [name, calls] of after) {
    const more = calls - (before.get(name) ?? 0)
    // This command is the bench's own.
    if (name === "info") continue
    if (sentByClients.test(name)) sent += more
    else inner += more
  }
  return { sent, inner }
}

/** Calls for a while, at a rate or as fast as possible. Returns the number of calls. */
const callFor = async (
  run: (calls: number) => Promise<unknown>,
  rate: number | undefined,
  millis: number
): Promise<number> => {
  const start = performance.now()
  let calls = 0
  while (performance.now() - start < millis) {
    if (rate === undefined) {
      await run(100)
      calls += 100
      // Lets timers and sockets run, as in a service.
      await sleep(0)
    } else {
      await run(1)
      calls++
      await sleep(Math.max(0, start + (calls * 1000) / rate - performance.now()))
    }
  }
  return calls
}

const repeated = (effect: Effect.Effect<unknown, unknown>) => (calls: number) =>
  Effect.runPromise(Effect.forEach(Array.from({ length: calls }), () => effect, { discard: true }))

export const syncMillis = 1_000

export const commandsAtRates = async (url: string, server: Admin, quick: boolean) => {
  const rows: Array<CommandsAtRate> = []
  for (const rate of [undefined, 50, 5, 1]) {
    const millis = quick ? 700 : rate === undefined ? 2_000 : 3_000
    const counter = new Counter()
    const ours = await oursOnRedis(url, { prefix: "rates", syncInterval: syncMillis, around: counter.around })
    const context = await ours.context()
    const protectedNoop = Effect.provideContext(CircuitBreaker.protect(noop, "api"), context)
    const theirs = await theirsOnRedis(url)
    const executed = theirs.breaker.execute(noop, { key: "api" })
    // Loads the scripts, and waits for the requests of the start.
    await repeated(protectedNoop)(1)
    await repeated(executed)(1)
    await sleep(100)
    const first = await counter.now(server)
    const ourCalls = await callFor(repeated(protectedNoop), rate, millis)
    const second = await counter.now(server)
    await ours.dispose()
    const third = await server.commands()
    const theirCalls = await callFor(repeated(executed), rate, millis)
    const fourth = await server.commands()
    await theirs.runtime.dispose()
    rows.push({
      rate,
      millis,
      ours: {
        calls: ourCalls,
        routine: routine(second.asked) - routine(first.asked),
        ...difference(first.seen, second.seen)
      },
      theirs: { calls: theirCalls, ...difference(third, fourth) }
    })
  }
  return rows
}

/** Measures healthy circuits that are called now and then, over several sync intervals. */
export const commandsIdle = async (url: string, server: Admin, quick: boolean): Promise<CommandsIdle> => {
  const circuits = quick ? 2_000 : 10_000
  const millis = quick ? 2_500 : 8_000
  const counter = new Counter()
  const runtime = await oursOnRedis(url, { prefix: "idle", syncInterval: syncMillis, around: counter.around })
  const calls = Array.from({ length: circuits }, (_, i) =>
    CircuitBreaker.protect(noop, "many", { key: `customer-${i}` })
  )
  const callAll = () => runtime.runPromise(Effect.forEach(calls, (call) => call, { discard: true }))
  await callAll()
  await sleep(100)
  const before = await counter.now(server)
  const start = performance.now()
  while (performance.now() - start < millis) {
    await callAll()
    await sleep(200)
  }
  const after = await counter.now(server)
  const took = performance.now() - start
  await runtime.dispose()
  const operations: Operations = {
    heartbeat: after.asked.heartbeat - before.asked.heartbeat,
    write: after.asked.write - before.asked.write,
    page: after.asked.page - before.asked.page,
    load: after.asked.load - before.asked.load
  }
  return { circuits, syncMillis, millis: took, sent: difference(before.seen, after.seen).sent, operations }
}
