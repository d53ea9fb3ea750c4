/**
 * Measures the cost of a protected no-op, compared with the bare effect and with other breakers, in one run.
 *
 *     npm run bench             a table, and bench/results/breakers.json
 *     npm run bench -- --json   the same as JSON on the standard output
 *     npm run bench -- --quick  a tenth of the calls, only to check that it works
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import * as Cockatiel from "cockatiel"
import { Effect, Layer, Logger, ManagedRuntime, Schedule, Scope, Semaphore } from "effect"
import { CircuitBreaker as EffectOwn } from "effect/persistence"
import { BreakerPolicy, BreakerStore, Bulkhead, CircuitBreaker, CircuitPool, Resilience, Trip } from "effect-fuse"
import { createBreaker, trip } from "effect-fuse/promise"
import Opossum from "opossum"
import { type Case, type Figure, measure } from "./measure.ts"

const { values: flags } = parseArgs({
  options: { json: { type: "boolean" }, quick: { type: "boolean" }, help: { type: "boolean" } },
  strict: false
})
if (flags["help"] === true) {
  console.log("npm run bench -- [--json] [--quick]")
  process.exit(0)
}
const quick = flags["quick"] === true
const rounds = quick ? 3 : 15
const calls = quick ? 20_000 : 200_000

const silent = Logger.layer([])
const policies = BreakerPolicy.layer({
  default: { cooldown: "10 minutes" },
  breakers: {
    streak: { trip: Trip.consecutive(5) },
    rate: { trip: Trip.failureRate({ threshold: 0.5, minimumCalls: 100, over: 100 }) }
  }
})
const ours = ManagedRuntime.make(
  Layer.mergeAll(BreakerStore.layerMemoryWith({ maxCircuits: 200_000 }), policies, silent)
)
const bare = ManagedRuntime.make(silent)
const theirs = ManagedRuntime.make(
  EffectOwn.layer({ tripPolicy: EffectOwn.consecutive(5), openDuration: "10 minutes" }).pipe(
    Layer.provideMerge(EffectOwn.layerStoreMemory()),
    Layer.merge(silent),
    Layer.merge(Layer.effect(Scope.Scope, Effect.scope))
  )
)

const noop = Effect.succeed(1)
const withOnExit = Effect.onExit(noop, () => Effect.void)
const down: Effect.Effect<number, string> = Effect.fail("down")

/** Runs an effect n times in a row on one fiber. */
const loop =
  <R>(runtime: ManagedRuntime.ManagedRuntime<R, unknown>, effect: (i: number) => Effect.Effect<unknown, unknown, R>) =>
  (n: number) => {
    let i = 0
    return runtime.runPromise(Effect.whileLoop({ while: () => i < n, body: () => effect(i++), step: () => {} }))
  }

const closed = (name: string) => {
  const effect = CircuitBreaker.protect(noop, name)
  return loop(ours, () => effect)
}

/** The same for an effect that fails. The time includes catching the error. */
const failing = <R>(runtime: ManagedRuntime.ManagedRuntime<R, unknown>, effect: Effect.Effect<unknown, unknown, R>) => {
  const caught = Effect.catch(effect, () => Effect.void)
  return loop(runtime, () => caught)
}

/** The same for functions that return promises. */
const turns = (f: () => Promise<unknown>) => async (n: number) => {
  for (let i = 0; i < n; i++) {
    try {
      await f()
    } catch {}
  }
}

const theirBreaker = await theirs.runPromise(EffectOwn.CircuitBreaker)
const theirRate = await theirs.runPromise(
  EffectOwn.make({
    tripPolicy: EffectOwn.rate({ threshold: 0.5, size: 100, minimumCalls: 100 }),
    openDuration: "10 minutes"
  })
)

const keys = Array.from({ length: 100_000 }, (_, i) => `customer-${i}`)
const protectedByKey = keys.map((key) => CircuitBreaker.protect(noop, "keyed", { key }))

const asyncNoop = async () => 1
const asyncDown = async () => {
  throw "down"
}
const cockatiel = () =>
  Cockatiel.circuitBreaker(Cockatiel.handleAll, {
    halfOpenAfter: 600_000,
    breaker: new Cockatiel.ConsecutiveBreaker(5)
  })
const opossum = (f: () => Promise<unknown>) =>
  new Opossum(f, { timeout: false, volumeThreshold: 5, errorThresholdPercentage: 50, resetTimeout: 600_000 })

const closedCockatiel = cockatiel()
const openCockatiel = cockatiel()
const closedOpossum = opossum(asyncNoop)
const openOpossum = opossum(asyncDown)

const byHand = noop.pipe(
  Effect.timeout("10 seconds"),
  CircuitBreaker.protect("by hand"),
  Effect.retry({ times: 2, schedule: Schedule.exponential("100 millis") })
)
const standard = Resilience.standard("standard")(noop)
const withPermit = Semaphore.makeUnsafe(10).withPermit(noop)
const limited = Bulkhead.limit(noop, Bulkhead.makeUnsafe({ concurrency: 10 }))

const pooled = CircuitPool.call(CircuitPool.make("pool", { members: ["a", "b", "c"] }), () => noop)

const closedPromise = createBreaker(asyncNoop, { timeout: false })
const openPromise = createBreaker(asyncDown, { timeout: false, trip: trip.consecutive(1), cooldown: "1 hour" })
await openPromise.execute().catch(() => {})

const cases: ReadonlyArray<Case> = [
  { name: "bare effect", calls, run: loop(bare, () => noop) },
  { name: "Effect.onExit", calls, run: loop(bare, () => withOnExit) },
  { name: "effect-fuse, closed", calls, run: closed("api") },
  {
    name: "effect-fuse, closed, protect called anew each time",
    calls,
    run: loop(ours, () => CircuitBreaker.protect(noop, "api"))
  },
  { name: "effect-fuse, closed, failures in a row only", calls, run: closed("streak") },
  { name: "effect-fuse, closed, rate over 100 calls", calls, run: closed("rate") },
  { name: "effect-fuse, closed, 100,000 keys", calls, run: loop(ours, (i) => protectedByKey[i % keys.length] ?? noop) },
  {
    name: "Effect's own, closed",
    calls: calls / 10,
    run: loop(
      theirs,
      (
        (p) => () =>
          p
      )(theirBreaker.execute(noop, { key: "api" }))
    )
  },
  {
    name: "Effect's own, closed, rate over 100 calls",
    calls: calls / 10,
    run: loop(
      theirs,
      (
        (p) => () =>
          p
      )(theirRate.execute(noop, { key: "rate" }))
    )
  },
  { name: "effect-fuse, open", calls, run: failing(ours, CircuitBreaker.protect(down, "broken")) },
  {
    name: "Effect's own, open",
    calls: calls / 10,
    run: failing(theirs, theirBreaker.execute(down, { key: "broken" }))
  },
  { name: "Effect.timeout, protect, Effect.retry by hand", calls, run: loop(ours, () => byHand) },
  { name: "Resilience.standard", calls, run: loop(ours, () => standard) },
  { name: "Effect's Semaphore.withPermit", calls, run: loop(ours, () => withPermit) },
  { name: "Bulkhead.limit", calls, run: loop(ours, () => limited) },
  { name: "CircuitPool.call, 3 members", calls, run: loop(ours, () => pooled) },
  { name: "bare async function", calls, run: turns(asyncNoop) },
  { name: "effect-fuse/promise, closed", calls: calls / 10, run: turns(() => closedPromise.execute()) },
  { name: "cockatiel, closed", calls, run: turns(() => closedCockatiel.execute(asyncNoop)) },
  { name: "opossum, closed", calls, run: turns(() => closedOpossum.fire()) },
  { name: "cockatiel, open", calls: calls / 10, run: turns(() => openCockatiel.execute(asyncDown)) },
  { name: "opossum, open", calls: calls / 10, run: turns(() => openOpossum.fire()) },
  { name: "effect-fuse/promise, open", calls: calls / 10, run: turns(() => openPromise.execute()) }
]

const figures = new Map((await measure(cases, rounds)).map((figure) => [figure.name, figure]))

const states = {
  closed: await ours.runPromise(CircuitBreaker.state("api")),
  open: await ours.runPromise(CircuitBreaker.state("broken")),
  theirs: (await theirs.runPromise(theirBreaker.state("broken")))._tag,
  cockatiel: Cockatiel.CircuitState[openCockatiel.state],
  opossum: openOpossum.opened ? "Open" : "Closed"
}
// A benchmark in the wrong state would measure something else.
for (const [what, expected] of [
  ["closed", "Closed"],
  ["open", "Open"],
  ["theirs", "Open"],
  ["cockatiel", "Open"],
  ["opossum", "Open"]
] as const) {
  if (states[what] !== expected) throw new Error(`the ${what} case is ${states[what]}, not ${expected}`)
}

const circuits = quick ? 10_000 : 100_000
// In separate processes, because earlier measurements leave garbage in this one.
const idle = Array.from({ length: 3 }, () =>
  Number(
    execFileSync(process.execPath, ["--expose-gc", "bench/idleCircuits.ts", String(circuits)], { encoding: "utf8" })
  )
)

const median = (numbers: ReadonlyArray<number>): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
const bytes = median(idle)

/** How many milliseconds a new process takes to import modules. */
const importMillis = (modules: ReadonlyArray<string>): number => {
  const code = `const t = performance.now(); ${modules.map((m) => `await import(${JSON.stringify(m)})`).join(";")}; console.log(performance.now() - t)`
  return Number(execFileSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" }))
}
const needed = [
  "Cause",
  "Clock",
  "Config",
  "ConfigProvider",
  "Context",
  "Data",
  "Duration",
  "Effect",
  "Effectable",
  "Equal",
  "Exit",
  "FiberSet",
  "Layer",
  "PubSub",
  "Result",
  "Random",
  "Schedule",
  "Schema",
  "SchemaIssue",
  "SchemaTransformation",
  "Semaphore",
  "Stream",
  "TxRef"
].map((name) => `effect/${name}`)
// In turns, so that a busy machine affects both alike.
const loaded = Array.from(
  { length: quick ? 3 : 21 },
  () => [importMillis(needed), importMillis(["effect-fuse"])] as const
)
const imports = { needed: median(loaded.map(([a]) => a)), root: median(loaded.map(([, b]) => b)) }

const get = (name: string): Figure => {
  const figure = figures.get(name)
  if (figure === undefined) throw new Error(`no case is called ${name}`)
  return figure
}
const ratio = (a: string, b: string) => get(a).nanos / get(b).nanos
const bars = [
  {
    bar: "a protected call costs at most 2 times Effect.onExit",
    value: ratio("effect-fuse, closed", "Effect.onExit"),
    limit: 2,
    most: true
  },
  {
    bar: "a protected call is at least 10 times as fast as Effect's own",
    value: ratio("Effect's own, closed", "effect-fuse, closed"),
    limit: 10,
    most: false
  },
  {
    bar: "a rejection is at least 15 times as fast as Effect's own",
    value: ratio("Effect's own, open", "effect-fuse, open"),
    limit: 15,
    most: false
  },
  {
    bar: "the standard pipeline costs at most as much as timeout, protect and Effect.retry by hand",
    value: ratio("Resilience.standard", "Effect.timeout, protect, Effect.retry by hand"),
    limit: 1,
    most: true
  },
  {
    bar: "an idle circuit with the default policy takes at most 1,024 bytes",
    value: bytes,
    limit: 1024,
    most: true
  },
  {
    bar: "importing it takes at most 1.3 times what importing its Effect modules takes",
    value: imports.root / imports.needed,
    limit: 1.3,
    most: true
  }
].map((one) => ({ ...one, met: one.most ? one.value <= one.limit : one.value >= one.limit }))

const result = {
  node: process.version,
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  rounds,
  nanosPerCall: Object.fromEntries(
    [...figures].map(([name, { highest, lowest, nanos }]) => [name, { median: nanos, lowest, highest }])
  ),
  bytesPerIdleCircuit: bytes,
  importMillis: imports,
  bars
}

if (flags["json"] === true) console.log(JSON.stringify(result, null, 2))
else {
  console.log(
    `${result.cpu}, ${result.cores} cores, Node ${result.node}; ${rounds} rounds in which all cases take turns\n`
  )
  console.log(`${"one call".padEnd(52)}   median  beside Effect.onExit   lowest to highest`)
  const base = get("Effect.onExit").nanos
  for (const { highest, lowest, name, nanos } of figures.values()) {
    console.log(
      `${name.padEnd(52)} ${nanos.toFixed(0).padStart(5)} ns  ${(nanos / base).toFixed(2).padStart(18)} x   ${lowest.toFixed(0)} to ${highest.toFixed(0)} ns`
    )
  }
  console.log("")
  console.log(`memory of an idle circuit that was called, default policy: ${bytes.toFixed(0)} bytes`)
  console.log(
    `import "effect-fuse": ${imports.root.toFixed(0)} ms; importing only the Effect modules that it needs: ${imports.needed.toFixed(0)} ms\n`
  )
  if (quick) console.log("a quick run is too short to judge by")
  else
    for (const { bar, met, value } of bars)
      console.log(`${met ? "met   " : "MISSED"} ${value.toFixed(2).padStart(8)}  ${bar}`)
}

if (!quick) {
  mkdirSync(new URL("results", import.meta.url), { recursive: true })
  writeFileSync(new URL("results/breakers.json", import.meta.url), `${JSON.stringify(result, null, 2)}\n`)
}

closedOpossum.shutdown()
openOpossum.shutdown()
await Promise.all([ours.dispose(), bare.dispose(), theirs.dispose()])
