import { createInterface } from "node:readline"
import { Cause, Effect, Exit, ManagedRuntime, Option } from "effect"
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"
import { createBreaker } from "effect-fuse/promise"

/** What a process is started with. */
export interface Setup {
  readonly url: string
  /** The number of calls of each kind. */
  readonly calls: number
  readonly timeoutMillis: number
}

/** What became of the calls of one kind. */
export interface Report {
  /** How many ended in each way: `Success`, or the name of the error. */
  readonly ends: Readonly<Record<string, number>>
  readonly state: string
  readonly failures: number
  readonly ignored: number
}

/** Blocks the event loop. Each line of the input is a number of milliseconds. */
const block = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

const { calls, timeoutMillis, url }: Setup = JSON.parse(process.argv[2] ?? "{}")

const read = async (size: number, signal: AbortSignal): Promise<number> =>
  (await (await fetch(`${url}/${size}`, { signal })).arrayBuffer()).byteLength

const store = ManagedRuntime.make(BreakerStore.layerMemory)

type Kind = {
  /** One call. Rejects with its error. */
  readonly call: (number: number) => Promise<unknown>
  readonly seen: () => Promise<Omit<Report, "ends">>
}

const ofPromise = (size: number): Kind => {
  const breaker = createBreaker((signal: AbortSignal) => read(size, signal), { timeout: timeoutMillis })
  return {
    call: () => breaker.run(({ signal }) => read(size, signal)),
    seen: async () => {
      const { failures, ignored, state } = breaker.metrics
      return { failures, ignored, state }
    }
  }
}

const ofEffect = (
  name: string,
  protect: (
    call: Effect.Effect<number, Cause.UnknownError>
  ) => Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>,
  signalOf: (signal: AbortSignal) => AbortSignal = (signal) => signal
): Kind => ({
  call: async () => {
    const exit = await store.runPromiseExit(protect(Effect.tryPromise((signal) => read(10, signalOf(signal)))))
    if (Exit.isSuccess(exit)) return exit.value
    throw Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  },
  seen: () =>
    store.runPromise(
      Effect.map(CircuitBreaker.inspect(name), ({ state, totals: { failures, ignored } }) => ({
        failures,
        ignored,
        state
      }))
    )
})

const kinds: Readonly<Record<string, Kind>> = {
  "createBreaker, small": ofPromise(10),
  "createBreaker, large": ofPromise(2_000_000),
  "Resilience.standard": ofEffect(
    "standard",
    Resilience.standard("standard", { timeout: timeoutMillis, retry: false })
  ),
  "Effect.timeout": ofEffect("timeout", (call) =>
    CircuitBreaker.protect(Effect.timeout(call, timeoutMillis), "timeout")
  ),
  "AbortSignal.timeout": ofEffect("signal", CircuitBreaker.protect("signal"), () => AbortSignal.timeout(timeoutMillis))
}

createInterface({ input: process.stdin }).on("line", (line) => block(Number(line)))

// The first `fetch` of a process takes long.
await (await fetch(`${url}/warm`)).text()
const begun = Object.entries(kinds).map(([name, kind]) => {
  const ends = Array.from({ length: calls }, (_, number) =>
    kind.call(number).then(
      () => "Success",
      (error: { readonly _tag?: string; readonly name?: string } | undefined) => error?._tag ?? error?.name ?? "Error"
    )
  )
  return { name, kind, ends }
})
const reports: Record<string, Report> = {}
for (const { ends, kind, name } of begun) {
  const counts: Record<string, number> = {}
  for (const end of await Promise.all(ends)) counts[end] = (counts[end] ?? 0) + 1
  reports[name] = { ends: counts, ...(await kind.seen()) }
}
process.stdout.write(`${JSON.stringify(reports)}\n`)
process.exit(0)
