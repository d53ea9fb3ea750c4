import { Effect, type ManagedRuntime } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { type Case, measure } from "../measure.ts"
import { bare, oursInMemory, oursOnPostgres, oursOnRedis, theirsInMemory, theirsOnRedis } from "./stores.ts"

export const contestants = [
  "bare effect",
  "ours, memory",
  "ours, Redis",
  "ours, PostgreSQL",
  "Effect's, memory",
  "Effect's, Redis"
] as const
export type Contestant = (typeof contestants)[number]

export interface Throughput {
  readonly callers: number
  /** Calls a second: the median of the rounds, the slowest and the fastest. */
  readonly perSecond: Readonly<
    Record<Contestant, { readonly median: number; readonly lowest: number; readonly highest: number }>
  >
}

const noop = Effect.succeed(1)

/** Makes calls with `count` concurrent callers. Each makes its next call when the last one has ended. */
const callers =
  <R>(runtime: ManagedRuntime.ManagedRuntime<R, unknown>, effect: Effect.Effect<unknown, unknown, R>, count: number) =>
  (calls: number) => {
    const each = Math.ceil(calls / count)
    const caller = Effect.suspend(() => {
      let left = each
      return Effect.whileLoop({
        while: () => left > 0,
        body: () => {
          left--
          return effect
        },
        step: () => {}
      })
    })
    const all = Array.from({ length: count }, () => caller)
    return runtime.runPromise(Effect.forEach(all, (one) => one, { concurrency: "unbounded", discard: true }))
  }

export const throughput = async (url: string, database: string, quick: boolean): Promise<ReadonlyArray<Throughput>> => {
  const nothing = bare()
  const inMemory = oursInMemory()
  const onRedis = await oursOnRedis(url, { prefix: "throughput" })
  const onPostgres = await oursOnPostgres(database)
  const theirMemory = await theirsInMemory()
  const theirRedis = await theirsOnRedis(url)
  const ours = CircuitBreaker.protect(noop, "api")
  const found: Array<Throughput> = []
  for (const count of [1, 16, 128]) {
    const scale = quick ? 0.2 : 1
    const cases: ReadonlyArray<Case & { readonly name: Contestant }> = [
      { name: "bare effect", calls: 400_000 * scale, run: callers(nothing, noop, count) },
      { name: "ours, memory", calls: 200_000 * scale, run: callers(inMemory, ours, count) },
      { name: "ours, Redis", calls: 200_000 * scale, run: callers(onRedis, ours, count) },
      { name: "ours, PostgreSQL", calls: 200_000 * scale, run: callers(onPostgres, ours, count) },
      {
        name: "Effect's, memory",
        calls: 25_000 * scale,
        run: callers(theirMemory.runtime, theirMemory.breaker.execute(noop, { key: "api" }), count)
      },
      {
        name: "Effect's, Redis",
        calls: (count === 1 ? 600 : 3_000) * scale,
        run: callers(theirRedis.runtime, theirRedis.breaker.execute(noop, { key: "api" }), count)
      }
    ]
    const figures = await measure(cases, quick ? 3 : 15)
    const perSecond = Object.fromEntries(
      figures.map(({ highest, lowest, name, nanos }) => [
        name,
        { median: 1e9 / nanos, lowest: 1e9 / highest, highest: 1e9 / lowest }
      ])
    ) as Throughput["perSecond"]
    found.push({ callers: count, perSecond })
  }
  await Promise.all(
    [nothing, inMemory, onRedis, onPostgres, theirMemory.runtime, theirRedis.runtime].map((one) => one.dispose())
  )
  return found
}
