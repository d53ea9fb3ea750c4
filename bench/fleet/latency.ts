import { type Duration, Effect } from "effect"
import { type BreakerStore, CircuitBreaker } from "effect-fuse"
import type { RedisServer } from "../../test/support/redisServer.ts"
import { delayProxy } from "./delayProxy.ts"
import { type Spread, sleep, spread } from "./figures.ts"
import { type Ours, oursInMemory, oursOnRedis, type Theirs, theirsOnRedis } from "./stores.ts"

export const conditions = ["healthy", "5 ms away", "300 ms away", "stopped", "killed"] as const
export type Condition = (typeof conditions)[number]

export const subjects = [
  "ours, memory",
  "ours, Redis",
  "ours, Redis, some calls fail",
  "Effect's, Redis",
  "Effect's, Redis, no offline queue"
] as const
export type Subject = (typeof subjects)[number]

export interface Latency {
  readonly condition: Condition
  /** Milliseconds of a protected no-op. */
  readonly noop: Readonly<Record<Subject, Spread>>
  /** How many milliseconds `Effect.timeout("100 millis")` around a protected call that hangs took. */
  readonly timeout: Readonly<Record<(typeof hanging)[number], Spread>>
}

/** The first has no breaker. It shows how late the timers of this machine are. */
export const hanging = ["no breaker", "ours, Redis", "Effect's, Redis", "Effect's, Redis, no offline queue"] as const

const noop = Effect.succeed(1)
const down: Effect.Effect<number, string> = Effect.fail("down")

type OurCall = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>

/** The number of calls in a burst. It is small enough that the fiber does not yield within a burst, and a multiple of the mixed calls. */
const burst = 98

/** Measures each call. The bursts of the cases alternate, with a pause after each in which timers and sockets can run. */
const timeOurs = async (all: ReadonlyArray<readonly [Ours, ReadonlyArray<OurCall>]>, bursts: number) => {
  const times = all.map((): Array<number> => [])
  for (let n = 0; n < bursts; n++) {
    for (const [place, [runtime, calls]] of all.entries()) {
      let i = 0
      let start = 0
      await runtime.runPromise(
        Effect.whileLoop({
          while: () => i < burst,
          body: () => {
            const call = calls[i++ % calls.length] ?? noop
            start = performance.now()
            return call
          },
          step: () => times[place]?.push(performance.now() - start)
        })
      )
      await sleep(2)
    }
  }
  return times
}

/** Open loop: each call begins at its time, however long the earlier calls take. Returns when all calls have ended. */
const timeEach = async (all: ReadonlyArray<() => Promise<unknown>>, calls: number, every: number) => {
  const times = all.map((): Array<number> => [])
  const running: Array<Promise<unknown>> = []
  const start = performance.now()
  for (let i = 0; i < calls; i++) {
    for (const [place, call] of all.entries()) {
      const began = performance.now()
      running.push(call().then(() => times[place]?.push(performance.now() - began)))
    }
    await sleep(Math.max(0, start + (i + 1) * every - performance.now()))
  }
  await Promise.all(running)
  return times
}

interface Round {
  readonly memory: Ours
  readonly direct: readonly [Ours, Theirs, Theirs]
  readonly distant: readonly [Ours, Theirs, Theirs]
}

/** How long Redis stays stopped, and how long it stays killed at most, after the calls begin. */
export const boundsOf = (quick: boolean) =>
  quick ? { stoppedMillis: 1_000, killedMillis: 1_000 } : { stoppedMillis: 3_500, killedMillis: 6_500 }

export const latency = async (
  server: RedisServer,
  quick: boolean,
  tell: (what: string) => void
): Promise<ReadonlyArray<Latency>> => {
  const proxy = await delayProxy(server.port)
  const rounds = quick ? 1 : 2
  const bursts = quick ? 40 : 200
  const theirCalls = quick ? 10 : 50
  const every = 10
  const { stoppedMillis, killedMillis } = boundsOf(quick)
  const noops = conditions.map(() => subjects.map((): Array<number> => []))
  const timeouts = conditions.map(() => hanging.map((): Array<number> => []))

  let fleets = 0
  const three = async (url: string): Promise<Round["direct"]> => [
    // A separate fleet, so that ballots of an earlier fleet do not count.
    await oursOnRedis(url, { prefix: `latency-${fleets++}`, syncInterval: 500 }),
    await theirsOnRedis(url),
    await theirsOnRedis(url, { disableOfflineQueue: true })
  ]

  const measureIn = async (round: Round, condition: Condition) => {
    const [ours, theirs, withoutQueue] = condition.endsWith("away") ? round.distant : round.direct
    const protectedNoop = CircuitBreaker.protect(noop, "api")
    const fails = Effect.ignore(CircuitBreaker.protect(down, "bad"))
    const works = Effect.ignore(CircuitBreaker.protect(noop, "bad"))
    const hangs = Effect.timeout(CircuitBreaker.protect(Effect.never, "hangs"), "100 millis")
    const execute = ({ breaker, runtime }: Theirs, effect: Effect.Effect<unknown>, within: Duration.Input) => {
      const call = Effect.timeout(breaker.execute(effect, { key: effect === noop ? "api" : "hangs" }), within)
      return () => runtime.runPromiseExit(call)
    }

    // Two failures, then successes: the process casts a ballot and withdraws it, again and again.
    const mixed = [fails, fails, works, works, works, works, works]
    const bursting = [
      [round.memory, [protectedNoop]],
      [ours, [protectedNoop]],
      [ours, mixed]
    ] as const
    const theirNoop = execute(theirs, noop, "2 seconds")
    const otherNoop = execute(withoutQueue, noop, "2 seconds")

    // Warms up the code, the scripts of Redis and the circuits.
    await timeOurs(bursting, 20)
    for (let i = 0; i < 20; i++) await Promise.all([theirNoop(), otherNoop()])
    const place = conditions.indexOf(condition)
    const into = (subject: Subject, times: ReadonlyArray<number>) => {
      const found = noops[place]?.[subjects.indexOf(subject)]
      for (const one of times) found?.push(one)
    }
    const begin: Record<Condition, () => Promise<void> | void> = {
      healthy: () => {},
      "5 ms away": () => {
        proxy.delay = 5
      },
      "300 ms away": () => {
        proxy.delay = 300
      },
      stopped: () => Effect.runPromise(server.pause),
      killed: () => Effect.runPromise(server.kill)
    }
    await begin[condition]()
    const [inMemory, onRedis, failing] = await timeOurs(bursting, bursts)
    for (const circuit of ["api", "bad"]) {
      const state = await ours.runPromise(CircuitBreaker.state(circuit))
      if (state !== "Closed") throw new Error(`the circuit ${circuit} is ${state} with Redis ${condition}`)
    }
    into("ours, memory", inMemory ?? [])
    into("ours, Redis", onRedis ?? [])
    into("ours, Redis, some calls fail", failing ?? [])

    const hung = timeEach(
      [
        () => ours.runPromiseExit(Effect.timeout(Effect.never, "100 millis")),
        () => ours.runPromiseExit(hangs),
        execute(theirs, Effect.never, "100 millis"),
        execute(withoutQueue, Effect.never, "100 millis")
      ],
      quick ? 5 : 50,
      every
    )
    const calls = timeEach([theirNoop, otherNoop], theirCalls, every)
    if (condition === "stopped") {
      await sleep(stoppedMillis)
      await Effect.runPromise(server.resume)
    }
    if (condition === "killed") {
      // Killed until no call waits any longer, at most for this time. It starts again empty.
      await Promise.race([Promise.all([hung, calls]), sleep(killedMillis)])
      await Effect.runPromise(server.start)
    }
    const [of, withoutOf] = await calls
    into("Effect's, Redis", of ?? [])
    into("Effect's, Redis, no offline queue", withoutOf ?? [])
    for (const [who, times] of (await hung).entries()) timeouts[place]?.[who]?.push(...times)
    proxy.delay = 0
  }

  for (let n = 0; n < rounds; n++) {
    // The first round only lets the code be compiled.
    if (n === 0) {
      const warm = oursInMemory()
      await timeOurs([[warm, [CircuitBreaker.protect(noop, "api")]]], 200)
      await warm.dispose()
    }
    for (const condition of conditions) {
      tell(`latency, ${condition}, round ${n + 1} of ${rounds}`)
      const round: Round = {
        memory: oursInMemory(),
        direct: await three(server.url),
        distant: await three(proxy.url)
      }
      await measureIn(round, condition)
      // A runtime without a connection closes later.
      const all = [round.memory, ...[round.direct, round.distant].flatMap(([a, b, c]) => [a, b.runtime, c.runtime])]
      await Promise.race([Promise.allSettled(all.map((one) => one.dispose())), sleep(1_500)])
    }
  }
  proxy.close()
  return conditions.map((condition, place) => ({
    condition,
    noop: Object.fromEntries(
      subjects.map((subject, who) => [subject, spread(noops[place]?.[who] ?? [])])
    ) as Latency["noop"],
    timeout: Object.fromEntries(
      hanging.map((who, n) => [who, spread(timeouts[place]?.[n] ?? [])])
    ) as Latency["timeout"]
  }))
}
