import { Effect, type ManagedRuntime } from "effect"
import { CircuitBreaker as EffectOwn } from "effect/persistence"
import { CircuitBreaker, Resilience } from "effect-fuse"
import { bare, byHand, failing, loop, ours, standard, theirBreaker, theirs } from "./effectRuntimes.ts"
import { pause, recoveries } from "./library.ts"
import { atOnceText, busyText, byHandText, ownTimedText, probeText } from "./names.ts"
import { Gate, many } from "./promises.ts"
import type { Case } from "./sampling.ts"

/* An asynchronous function in an effect, as most protected calls are. */

const resilienceTimeout = Resilience.timeout("10 seconds")

export const wrappers: ReadonlyArray<{
  readonly name: string
  readonly run: (call: Effect.Effect<number>) => {
    readonly runtime: ManagedRuntime.ManagedRuntime<never, unknown>
    readonly effect: Effect.Effect<unknown, unknown>
  }
}> = [
  { name: "Effect.promise", run: (call) => on(bare, call) },
  {
    name: "Effect.onExit",
    run: (call) =>
      on(
        bare,
        Effect.onExit(call, () => Effect.void)
      )
  },
  { name: "protect", run: (call) => on(ours, CircuitBreaker.protect(call, "async")) },
  { name: "Effect's own", run: (call) => on(theirs, theirBreaker.execute(call, { key: "async" })) },
  { name: "Effect.timeout", run: (call) => on(bare, Effect.timeout(call, "10 seconds")) },
  { name: "Resilience.timeout", run: (call) => on(bare, resilienceTimeout(call)) },
  {
    name: ownTimedText,
    run: (call) => on(theirs, theirBreaker.execute(Effect.timeout(call, "10 seconds"), { key: "async" }))
  },
  { name: byHandText, run: (call) => on(ours, byHand(call)) },
  { name: "Resilience.standard", run: (call) => on(ours, standard(call)) }
]

const on = <R>(runtime: ManagedRuntime.ManagedRuntime<R, unknown>, effect: Effect.Effect<unknown, unknown, R>) => ({
  // The services of the effect are those of the runtime. The cases need not know them.
  runtime: runtime as unknown as ManagedRuntime.ManagedRuntime<never, unknown>,
  effect: effect as Effect.Effect<unknown, unknown>
})

const noop = Effect.promise(async () => 1)

const inTurn = wrappers.map(({ name, run }): Case => {
  const { effect, runtime } = run(noop)
  return { name: `async, ${name}`, run: loop(runtime, () => effect) }
})

const atOnce = wrappers.map(({ name, run }): Case => {
  const gate = new Gate()
  const { effect, runtime } = run(Effect.promise(gate.call))
  const batch = Effect.forEach(Array.from({ length: many }), () => effect, { concurrency: "unbounded", discard: true })
  return {
    name: `async, ${name}, ${atOnceText}`,
    calls: many * 5,
    run: async (n) => {
      for (let done = 0; done < n; done += many) {
        gate.close()
        setImmediate(() => gate.open())
        await runtime.runPromise(batch)
      }
    }
  }
})

// ---- Half-open ------------------------------------------------------------------------------------------------------

let isDown = false
const call = Effect.promise(async () => isDown).pipe(
  Effect.flatMap((failed) => (failed ? Effect.fail("down") : Effect.succeed(1)))
)
const keys = Array.from({ length: recoveries }, (_, i) => `key-${i}`)

const recovering = <R>(
  name: string,
  runtime: ManagedRuntime.ManagedRuntime<R, unknown>,
  protect: (key: string) => Effect.Effect<unknown, unknown, R>,
  state: (key: string) => Effect.Effect<string, unknown, R>
): Case => {
  const effects = keys.map((key) => Effect.ignore(protect(key)))
  const callAll = loop(runtime, (i) => effects[i % recoveries] ?? Effect.void)
  return {
    name,
    calls: recoveries,
    prepare: async () => {
      isDown = true
      await callAll(recoveries)
      isDown = false
      await pause(5)
    },
    run: callAll,
    check: async () => {
      for (const key of keys) {
        const now = await runtime.runPromise(state(key))
        if (now !== "Closed") throw new Error(`${name}: the circuit is ${now}, not Closed`)
      }
    }
  }
}

const theirRecovering = await theirs.runPromise(
  EffectOwn.make({ tripPolicy: EffectOwn.consecutive(1), openDuration: "1 millis" })
)
const theirProbing = await theirs.runPromise(
  EffectOwn.make({ tripPolicy: EffectOwn.consecutive(1), openDuration: "1 millis" })
)

/** Opens a circuit, waits until it lets a probe pass, and starts a probe that never ends. */
const startProbe = async <R>(
  runtime: ManagedRuntime.ManagedRuntime<R, unknown>,
  protect: (call: Effect.Effect<number, string>) => Effect.Effect<unknown, unknown, R>
): Promise<(n: number) => Promise<void>> => {
  await runtime.runPromise(Effect.ignore(protect(Effect.fail("down"))))
  await pause(5)
  runtime.runFork(protect(Effect.never))
  await pause(5)
  return failing(runtime, protect(Effect.succeed(1)))
}

export const halfOpen: ReadonlyArray<Case> = [
  recovering(
    `async, protect, ${probeText}`,
    ours,
    (key) => CircuitBreaker.protect(call, "recovering", { key }),
    (key) => CircuitBreaker.state("recovering", { key })
  ),
  recovering(
    `async, Effect's own, ${probeText}`,
    theirs,
    (key) => theirRecovering.execute(call, { key }),
    (key) => Effect.map(theirRecovering.state(key), ({ _tag }) => _tag)
  ),
  {
    name: `async, protect, ${busyText}`,
    run: await startProbe(ours, (self) => CircuitBreaker.protect(self, "probing"))
  },
  {
    name: `async, Effect's own, ${busyText}`,
    run: await startProbe(theirs, (self) => theirProbing.execute(self, { key: "probing" }))
  }
]

export const cases: ReadonlyArray<Case> = [...inTurn, ...atOnce, ...halfOpen]
