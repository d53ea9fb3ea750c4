import type { Samples } from "./interleave.ts"
import { byHandText, timeoutText } from "./names.ts"
import type { ImportTimes } from "./processes.ts"
import type { Bar, Earlier, Figure, Result } from "./result.ts"
import { type Spread, spreadOf } from "./sampling.ts"

/** A row may take this many times the earlier time. Both times are divided by the time of the same bare call. */
const tolerance = 1.1

/** Matches the rows of this library in the earlier results. */
const ownRows = /^(effect-fuse|Resilience|Bulkhead|CircuitPool)/
const baseOf = (name: string) => (name.startsWith("effect-fuse/promise") ? "bare async function" : "Effect.onExit")

/** A row of the earlier results. Both times are divided by the time of the bare call `base`. */
export interface Change {
  readonly name: string
  readonly base: string
  readonly before: number
  readonly now: number
}

export const changes = (
  figures: Readonly<Record<string, Figure>>,
  { nanosPerCall: earlier }: Earlier
): ReadonlyArray<Change> =>
  Object.keys(earlier).flatMap((name) => {
    const base = baseOf(name)
    const ratio = (rows: Readonly<Record<string, { readonly median: number }>>) =>
      (rows[name]?.median ?? Number.NaN) / (rows[base]?.median ?? Number.NaN)
    return ownRows.test(name) && figures[name] !== undefined
      ? [{ name, base, before: ratio(earlier), now: ratio(figures) }]
      : []
  })

/** The ratios of the CPU times of two cases, one for each round. */
const ratios = (samples: Samples, above: string, below: string): Spread => {
  const of = (name: string) => {
    const found = samples.get(name)
    if (found === undefined) throw new Error(`no case has the name ${name}`)
    return found
  }
  const divisors = of(below)
  return spreadOf(of(above).map(({ cpu }, round) => cpu / (divisors[round]?.cpu ?? Number.NaN)))
}

interface Given {
  readonly samples: Samples
  readonly figures: Readonly<Record<string, Figure>>
  readonly waiting: Result["bytesPerWaitingCall"]
  readonly idle: number
  readonly imports: ReadonlyArray<ImportTimes>
  readonly earlier: Earlier
}

export const barsOf = ({ earlier, figures, idle, imports, samples, waiting }: Given): ReadonlyArray<Bar> => {
  const bar = (most: boolean) => (text: string, limit: number, value: Spread | number) => {
    const { median, ...quartiles } = typeof value === "number" ? { median: value } : value
    return { bar: text, value: median, ...quartiles, limit, most, met: most ? median <= limit : median >= limit }
  }
  const atMost = bar(true)
  const atLeast = bar(false)
  const ratio = (above: string, below: string) => ratios(samples, above, below)
  const promise = "effect-fuse/promise, closed"
  const bytes = (name: string) => waiting[name] ?? Number.NaN
  const added = (name: string) => bytes(name) - bytes("async, Effect.promise")
  const slower = changes(figures, earlier).map(({ before, now }) => now / before)
  return [
    atLeast(
      "promise breaker, defaults with timeout, closed: opossum with its timeout takes at least 3 times as long",
      3,
      ratio(`opossum, closed, ${timeoutText}`, `${promise}, ${timeoutText}`)
    ),
    atLeast(
      "the same: cockatiel with a timeout takes at least 15 times as long",
      15,
      ratio(`cockatiel, closed, ${timeoutText}`, `${promise}, ${timeoutText}`)
    ),
    atLeast(
      "promise breaker without timeout, closed: opossum takes at least 2 times as long",
      2,
      ratio("opossum, closed", promise)
    ),
    atMost("the same: at most 1.25 times cockatiel", 1.25, ratio(promise, "cockatiel, closed")),
    atLeast(
      "promise breaker, open: opossum takes at least 3 times as long",
      3,
      ratio("opossum, open", "effect-fuse/promise, open")
    ),
    atLeast(
      "the same: cockatiel takes at least 3 times as long",
      3,
      ratio("cockatiel, open", "effect-fuse/promise, open")
    ),
    atMost(
      "`Resilience.timeout` around an async call: at most a third of `Effect.timeout`",
      1 / 3,
      ratio("async, Resilience.timeout", "async, Effect.timeout")
    ),
    atMost(
      "`Resilience.standard` around an async call: at most 0.35 of the same by hand",
      0.35,
      ratio("async, Resilience.standard", `async, ${byHandText}`)
    ),
    atMost("the same: at most 2.5 times `protect`", 2.5, ratio("async, Resilience.standard", "async, protect")),
    atMost(
      "`protect`, closed, around an effect that succeeds at once: at most 1.5 times `Effect.onExit`",
      1.5,
      ratio("effect-fuse, closed", "Effect.onExit")
    ),
    atMost(
      "the same with 100,000 keys: at most 2 times one circuit",
      2,
      ratio("effect-fuse, closed, 100,000 keys", "effect-fuse, closed")
    ),
    atLeast(
      "the same: Effect's own breaker takes at least 10 times as long",
      10,
      ratio("Effect's own, closed", "effect-fuse, closed")
    ),
    atLeast(
      "`protect`, open: Effect's own breaker takes at least 15 times as long",
      15,
      ratio("Effect's own, open", "effect-fuse, open")
    ),
    atMost(
      "`Resilience.standard` around an effect that succeeds at once: at most the same by hand",
      1,
      ratio("Resilience.standard", byHandText)
    ),
    atMost(
      "memory of a waiting call with `Resilience.timeout`: at most half of `Effect.timeout`",
      0.5,
      bytes("async, Resilience.timeout") / bytes("async, Effect.timeout")
    ),
    atMost(
      "the same without the memory of the call itself",
      0.5,
      added("async, Resilience.timeout") / added("async, Effect.timeout")
    ),
    atMost("memory of an idle circuit, in bytes: at most 1,024", 1_024, idle),
    atMost(
      "import of the root module, wall time: at most 1.3 times its Effect modules",
      1.3,
      spreadOf(imports.map(({ needed, root }) => root.wall / needed.wall))
    ),
    atMost("the same in CPU time", 1.3, spreadOf(imports.map(({ needed, root }) => root.cpu / needed.cpu))),
    atMost(
      "rows of the earlier benchmark, beside a bare call: the row that changed most takes at most 1.1 times as long",
      tolerance,
      Math.max(...slower)
    )
  ]
}
