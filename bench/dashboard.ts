/**
 * Measures the live page with 1,000 circuits, 200 processes and 60 changes a minute. This program prints how long the tasks on the
 * browser's main thread take, and how much CPU time the server takes.
 *
 *     npm run bench:dashboard
 *     npm run bench:dashboard -- --quick   does not wait five minutes for full histories
 *
 * This program starts its own `redis-server`, `effect-fuse serve` and Chromium. Tasks are measured in CPU time, because other programs on
 * the machine do not change this time. The output also shows the clock time in brackets.
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import * as Operator from "effect-fuse/Operator"
import * as RedisStore from "effect-fuse/RedisStore"
import type { CDPSession, Page } from "playwright-core"
import { ensurePage } from "../scripts/page.ts"
import { encode, type NameDigest } from "../src/store/digest.ts"
import { browser, open } from "../test/support/browser.ts"
import { start } from "../test/support/commandLine.ts"
import { cpuMillis } from "../test/support/programs.ts"
import { connection } from "../test/support/redisFleet.ts"
import { redisServer } from "../test/support/redisServer.ts"

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false } } })
const seconds = values.quick ? 20 : 60
const circuits = 1_000
const processes = 200
const openCircuits = 40
const longMillis = 50

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const nameOf = (n: number) => `service-${n.toString().padStart(4, "0")}`

/** A full digest: it contains the counts of 110 names. Each process reports different names. */
const digestOf = (process: number, round: number): string => {
  const names = numbers(110).map((i): NameDigest => {
    const n = (process * 37 + i * 9) % circuits
    const calls = 400 + ((process * 7 + i * 13 + round * 31) % 90)
    return {
      ...{ name: nameOf(n), calls, successes: calls - 3, failures: 3, rejected: 0, slow: 1, passed: 0, inFlight: 2 },
      ...{ keys: n % 5, notClosed: 0, limit: undefined, p50: 12 + (calls % 7), p95: 80 + (calls % 40), worst: [] }
    }
  })
  return encode(5_000, names)
}

interface TraceEvent {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly dur?: number
  readonly tdur?: number
}

/** How long a task took, in milliseconds of CPU time and of clock time. */
interface Task {
  readonly cpu: number
  readonly clock: number
}

const markName = "effect-fuse bench"
const categories = ["toplevel", "blink.user_timing", "devtools.timeline", "disabled-by-default-devtools.timeline"]

/** Starts a trace of the browser. The returned function ends the trace, and returns the tasks of the page's main thread. */
const trace = async (page: Page, session: CDPSession): Promise<() => Promise<ReadonlyArray<Task>>> => {
  const events: Array<TraceEvent> = []
  // The types of the protocol say that all values of an event are texts, but durations and ids are numbers.
  session.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as Array<TraceEvent>)))
  await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: categories } })
  return async () => {
    await page.evaluate((name) => performance.mark(name), markName)
    const complete = new Promise<void>((resolve) => session.once("Tracing.tracingComplete", () => resolve()))
    await session.send("Tracing.end")
    await complete
    // The browser has other renderers. Only the renderer of the page has this mark.
    const main = events.find(({ name }) => name === markName)
    const isMain = ({ pid, tid }: TraceEvent) => pid === main?.pid && tid === main.tid
    const tasks = events.filter((one) => one.ph === "X" && /RunTask$/.test(one.name) && isMain(one))
    return tasks.map(({ dur = 0, tdur = dur }) => ({ cpu: tdur / 1_000, clock: dur / 1_000 }))
  }
}

const report = (what: string, all: ReadonlyArray<Task>, overSeconds?: number): void => {
  const longest = all.reduce((most, one) => (one.cpu > most.cpu ? one : most), { cpu: 0, clock: 0 })
  const long = all.filter(({ cpu }) => cpu > longMillis).length
  const busy = all.reduce((sum, { cpu }) => sum + cpu, 0)
  const share = overSeconds === undefined ? "" : `; main thread ${(busy / overSeconds / 10).toFixed(1)} % of a core`
  console.log(
    `${what.padEnd(48)} longest task ${longest.cpu.toFixed(0)} ms (${longest.clock.toFixed(0)} ms), ${long} over ${longMillis} ms${share}`
  )
}

const say = <A>(promise: () => Promise<A>): Effect.Effect<A> => Effect.promise(promise)

const rows = (page: Page, n: number) => say(() => page.locator("tbody tr").nth(n).waitFor())

const program = Effect.gen(function* () {
  yield* say(ensurePage)
  const { url: redis } = yield* redisServer
  const context = yield* connection(redis)
  const store = yield* Effect.provideContext(RedisStore.make({}), context)
  const beat = (process: number, round: number) =>
    store.exchange({
      ...{ voter: `process-${process}`, ttl: 60_000, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps: [] },
      digest: digestOf(process, round)
    })
  yield* Effect.forEach(numbers(processes), (n) => beat(n, 0), { concurrency: 20, discard: true })
  for (const n of numbers(openCircuits)) yield* Operator.open(store, nameOf(n * 25), { for: "30 minutes" })

  const served = yield* start(["serve", "--port", "0", "--redis", redis])
  let url: string | undefined
  while (url === undefined) {
    yield* Effect.sleep(100)
    url = /http:\/\/\S+/.exec(served.out())?.[0]
  }
  const address = url

  // Each process sends its heartbeat every 5 seconds, and an operator changes one circuit a second.
  const beats = Effect.gen(function* () {
    for (let round = 1; ; round++) {
      for (const slot of numbers(50)) {
        const some = numbers(processes).filter((n) => n % 50 === slot)
        yield* Effect.forEach(some, (n) => beat(n, round), { concurrency: 4, discard: true })
        yield* Effect.sleep(95)
      }
    }
  })
  const changes = Effect.gen(function* () {
    for (let n = 0; ; n++) {
      const name = nameOf(1 + 25 * (Math.floor(n / 2) % openCircuits))
      yield* n % 2 === 0 ? Operator.open(store, name, { for: "30 minutes" }) : Operator.close(store, name)
      yield* Effect.sleep(985)
    }
  })
  yield* Effect.forkScoped(beats)
  yield* Effect.forkScoped(changes)

  const chrome = yield* browser
  const page = yield* open(chrome, "about:blank")
  const session = yield* say(() => page.context().newCDPSession(page))
  const measured = <A>(during: Effect.Effect<A>) =>
    Effect.gen(function* () {
      const end = yield* say(() => trace(page, session))
      yield* during
      return yield* say(end)
    })

  // After five minutes, all histories are full. A view then has its full size.
  if (!values.quick) yield* Effect.sleep("5 minutes")
  console.log(`${circuits} circuits, ${openCircuits} open, ${processes} processes, 60 changes a minute`)
  const load = Effect.gen(function* () {
    yield* say(() => page.goto(address))
    yield* rows(page, 10)
    yield* Effect.sleep(1_000)
  })
  report("loads", yield* measured(load))
  for (const n of [2, 3]) report(`loads, ${n}`, yield* measured(load))
  const before = cpuMillis(served.pid)
  report("live", yield* measured(Effect.sleep(seconds * 1_000)), seconds)
  const server = (cpuMillis(served.pid) - before) / (seconds * 10)
  console.log(`${"server".padEnd(48)} ${server.toFixed(1)} % of a core`)
  report(
    "types a search of 12 letters",
    yield* measured(say(() => page.getByRole("searchbox").pressSequentially("service-0100", { delay: 80 })))
  )
  yield* say(() => page.keyboard.press("Escape"))
  yield* Effect.sleep(500)
  report(
    "sorts by each column",
    yield* measured(
      Effect.gen(function* () {
        for (const title of ["Calls", "Failing", "Rejected", "p95", "Name"]) {
          yield* say(() => page.locator("thead").getByRole("button", { name: title }).click())
          yield* Effect.sleep(300)
        }
      })
    )
  )
  const next = page.getByRole("button", { name: "Next" })
  report(
    "shows the next rows, five times",
    yield* measured(
      Effect.gen(function* () {
        for (const _ of numbers(5)) {
          yield* say(() => next.click())
          yield* Effect.sleep(400)
        }
      })
    )
  )
  report(
    "opens a circuit, and returns",
    yield* measured(
      Effect.gen(function* () {
        yield* say(() => page.locator("tbody a").first().click())
        yield* say(() => page.getByRole("heading", { name: "History" }).waitFor())
        yield* Effect.sleep(6_000)
        yield* say(() => page.getByRole("link", { name: "All circuits" }).click())
        yield* rows(page, 10)
        yield* Effect.sleep(500)
      })
    )
  )
})

await Effect.runPromise(Effect.scoped(Effect.orDie(program)))
process.exit(0)
