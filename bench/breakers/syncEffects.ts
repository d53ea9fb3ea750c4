import { Effect, Semaphore } from "effect"
import { CircuitBreaker as EffectOwn } from "effect/persistence"
import { Bulkhead, CircuitBreaker, CircuitPool } from "effect-fuse"
import { bare, byHand, failing, loop, ours, standard, theirBreaker, theirs } from "./effectRuntimes.ts"
import { byHandText } from "./names.ts"
import type { Case } from "./sampling.ts"

/* An effect that succeeds at once: what each wrapper costs by itself. */

const noop = Effect.succeed(1)
const withOnExit = Effect.onExit(noop, () => Effect.void)
const down: Effect.Effect<number, string> = Effect.fail("down")

const closed = (name: string) => {
  const effect = CircuitBreaker.protect(noop, name)
  return loop(ours, () => effect)
}

const theirRate = await theirs.runPromise(
  EffectOwn.make({
    tripPolicy: EffectOwn.rate({ threshold: 0.5, size: 100, minimumCalls: 100 }),
    openDuration: "1 hour"
  })
)
const theirClosed = theirBreaker.execute(noop, { key: "api" })
const theirClosedRate = theirRate.execute(noop, { key: "rate" })

const keys = Array.from({ length: 100_000 }, (_, i) => `customer-${i}`)
const protectedByKey = keys.map((key) => CircuitBreaker.protect(noop, "keyed", { key }))

const byHandNoop = byHand(noop)
const standardNoop = standard(noop)
const withPermit = Semaphore.makeUnsafe(10).withPermit(noop)
const limited = Bulkhead.limit(noop, Bulkhead.makeUnsafe({ concurrency: 10 }))
const pooled = CircuitPool.call(CircuitPool.make("pool", { members: ["a", "b", "c"] }), () => noop)

const expectState = (name: string, actual: Promise<string>, expected: string) =>
  actual.then((state) => {
    if (state !== expected) throw new Error(`${name}: the circuit is ${state}, not ${expected}`)
  })

export const cases: ReadonlyArray<Case> = [
  { name: "bare effect", run: loop(bare, () => noop) },
  { name: "Effect.onExit", run: loop(bare, () => withOnExit) },
  {
    name: "effect-fuse, closed",
    run: closed("api"),
    check: () => expectState("effect-fuse, closed", ours.runPromise(CircuitBreaker.state("api")), "Closed")
  },
  {
    name: "effect-fuse, closed, protect called anew each time",
    run: loop(ours, () => CircuitBreaker.protect(noop, "api"))
  },
  { name: "effect-fuse, closed, failures in a row only", run: closed("streak") },
  { name: "effect-fuse, closed, rate over 100 calls", run: closed("rate") },
  { name: "effect-fuse, closed, 100,000 keys", run: loop(ours, (i) => protectedByKey[i % keys.length] ?? noop) },
  { name: "Effect's own, closed", run: loop(theirs, () => theirClosed) },
  { name: "Effect's own, closed, rate over 100 calls", run: loop(theirs, () => theirClosedRate) },
  {
    name: "effect-fuse, open",
    run: failing(ours, CircuitBreaker.protect(down, "broken")),
    check: () => expectState("effect-fuse, open", ours.runPromise(CircuitBreaker.state("broken")), "Open")
  },
  {
    name: "Effect's own, open",
    run: failing(theirs, theirBreaker.execute(down, { key: "broken" })),
    check: () =>
      expectState(
        "Effect's own, open",
        theirs.runPromise(theirBreaker.state("broken")).then(({ _tag }) => _tag),
        "Open"
      )
  },
  { name: byHandText, run: loop(ours, () => byHandNoop) },
  { name: "Resilience.standard", run: loop(ours, () => standardNoop) },
  { name: "Effect's Semaphore.withPermit", run: loop(ours, () => withPermit) },
  { name: "Bulkhead.limit", run: loop(ours, () => limited) },
  { name: "CircuitPool.call, 3 members", run: loop(ours, () => pooled) }
]
