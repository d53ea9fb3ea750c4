/**
 * A shop that works, fails, hangs and recovers, called over HTTP through a circuit breaker.
 *
 *     npm start                a timeline
 *     npm start -s -- --json   the same facts as JSON
 */
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Duration, Effect, Exit, Layer, Logger, pipe, Schedule, Stream } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { type BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { openShop, type Shop } from "./quickstart/shop.ts"
import { type End, legend, painter, row, transition } from "./quickstart/timeline.ts"

// ---- The breaker: this is all there is to it ------------------------------------------------------------------------

const policies = BreakerPolicy.layer({
  breakers: { shop: { cooldown: Schedule.exponential("1 second") } }
})

const callShop = (url: string, witness: Witness) =>
  Effect.flatMap(HttpClient.HttpClient, (client) =>
    pipe(
      HttpClient.filterStatusOk(client).get(url),
      Effect.timeout("300 millis"),
      CircuitBreaker.protect("shop"),
      witness, // only for the demonstration: records how each attempt ended
      Effect.retry({ times: 2, schedule: Schedule.spaced("50 millis"), while: (error) => error._tag !== "CircuitOpen" })
    )
  )

const services = Layer.mergeAll(BreakerStore.layerMemory, policies, FetchHttpClient.layer)

// ---- The demonstration: customers, a shop with moods, and a diary ---------------------------------------------------

const { values: flags } = parseArgs({ options: { json: { type: "boolean" } } })
const json = flags.json === true
const paint = painter(process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined)
const print = (line: string) => (json || line === "" ? Effect.void : Console.log(line))

const begin = performance.now()
const seconds = () => (performance.now() - begin) / 1000

interface Diary {
  ends: Array<End>
  readonly attempts: Record<End, number>
  readonly moves: Array<BreakerEvent.Transition & { readonly seconds: number }>
  firstRejection: number | undefined
}

type Witness = <A, E extends { readonly _tag: string }, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const witnessFor =
  (diary: Diary): Witness =>
  (self) =>
    Effect.onExit(self, (exit) =>
      Effect.sync(() => {
        const error = Exit.isFailure(exit)
          ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
          : undefined
        if (Exit.isFailure(exit) && error === undefined) return
        const tag = error?._tag
        const end: End =
          tag === undefined ? "ok" : tag === "CircuitOpen" ? "rejected" : tag === "TimeoutError" ? "timeout" : "error"
        diary.ends.push(end)
        diary.attempts[end]++
        if (end === "rejected") diary.firstRejection ??= seconds()
      })
    )

const customer = (shop: Shop, diary: Diary) =>
  pipe(callShop(shop.url, witnessFor(diary)), Effect.ignore, Effect.repeat(Schedule.spaced("100 millis")))

/** Prints a row for each half second, with the mood at its start. */
const watch = (shop: Shop, diary: Diary) =>
  Effect.gen(function* () {
    const mood = shop.mood()
    yield* Effect.sleep("500 millis")
    const { retryAfter, state } = yield* CircuitBreaker.inspect("shop")
    const { ends } = diary
    diary.ends = []
    yield* print(
      row({ seconds: seconds(), mood, state, retryAfterSeconds: Duration.toSeconds(retryAfter), ends }, paint)
    )
  }).pipe(Effect.forever)

const note = (diary: Diary) =>
  Stream.runForEach(CircuitBreaker.events, (event) => {
    const at = seconds()
    if (event._tag === "Transition") diary.moves.push({ ...event, seconds: at })
    return print(transition(event, at, paint))
  })

const program = Effect.gen(function* () {
  const shop = yield* openShop
  const diary: Diary = {
    ends: [],
    attempts: { ok: 0, error: 0, timeout: 0, rejected: 0 },
    moves: [],
    firstRejection: undefined
  }
  yield* print(legend(paint))
  yield* Effect.forkScoped(note(diary), { startImmediately: true })
  yield* Effect.forkScoped(watch(shop, diary))
  for (let i = 0; i < 4; i++) yield* Effect.forkScoped(Effect.delay(customer(shop, diary), i * 25))

  yield* Effect.sleep("2 seconds")
  const failedAt = seconds()
  shop.setMood("fails")
  yield* Effect.sleep("3 seconds")
  shop.setMood("hangs")
  yield* Effect.sleep("2500 millis")
  const recoveredAt = seconds()
  shop.setMood("recovered")
  yield* Effect.timeout(CircuitBreaker.awaitClosed("shop"), "8 seconds")
  const closedAt = seconds()
  yield* Effect.sleep("2 seconds")

  const { totals } = yield* CircuitBreaker.inspect("shop")
  const facts = {
    spared: totals.rejected,
    reachedWhileDown: shop.requests.fails + shop.requests.hangs,
    reached: shop.requests,
    attempts: diary.attempts,
    secondsToFirstRejection: (diary.firstRejection ?? Number.NaN) - failedAt,
    secondsToRecover: closedAt - recoveredAt,
    transitions: diary.moves.map(({ at, from, seconds, to, why }) => ({ seconds, at, from, to, why }))
  }
  if (json) return yield* Console.log(JSON.stringify(facts, null, 2))
  yield* Console.log(`
${paint("bold", `The shop was spared ${facts.spared} requests`)} while it was down; ${facts.reachedWhileDown} reached it.
The first call was rejected ${facts.secondsToFirstRejection.toFixed(1)} s after it began to fail.
The circuit closed ${facts.secondsToRecover.toFixed(1)} s after the shop was back, when the cooldown let a probe through.`)
})

NodeRuntime.runMain(pipe(program, Effect.scoped, Effect.provide(services), Effect.provide(Logger.layer([]))))
