/** Experiments with thousands of circuits that are open or fail at once, on a real Redis with real processes. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { NodeRedis } from "@effect/platform-node"
import { Effect, Exit, Scope } from "effect"
import { SharedStore } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { redisServer } from "../../test/support/redisServer.ts"
import { sleep } from "./figures.ts"
import type { KeysAnswer, KeysOrder, KeysSetup } from "./keysMessages.ts"
import { type Admin, admin, logSlow, longest } from "./stores.ts"

/** A process that the bench started. */
interface Member {
  readonly first: KeysAnswer
  readonly ask: (order: KeysOrder) => Promise<KeysAnswer>
  readonly stop: () => Promise<void>
}

const file = fileURLToPath(new URL("keysMember.ts", import.meta.url))

const start = (setup: Partial<KeysSetup> & Pick<KeysSetup, "url">): Promise<Member> =>
  new Promise((resolve, reject) => {
    const whole: KeysSetup = { prefix: "scale", name: "member", callsAtOnce: 0, ...setup }
    const child: ChildProcess = fork(file, [JSON.stringify(whole)])
    const gone = new Promise<void>((ended) => child.once("exit", () => ended()))
    const waiting = new Map<number, (answer: KeysAnswer) => void>()
    let last = 0
    child.once("exit", (code) => reject(new Error(`a process ended with ${code}`)))
    child.on("message", (answer: KeysAnswer) => {
      if (answer.id > 0) waiting.get(answer.id)?.(answer)
      else
        resolve({
          first: answer,
          ask: (order) =>
            new Promise((answered) => {
              waiting.set(++last, answered)
              child.send({ id: last, order })
            }),
          stop: async () => {
            child.send({ id: -1, order: { do: "stop" } })
            await Promise.race([gone, sleep(3_000)])
            child.kill("SIGKILL")
          }
        })
    })
  })

const startAll = (count: number, setup: Partial<KeysSetup> & Pick<KeysSetup, "url">): Promise<ReadonlyArray<Member>> =>
  Promise.all(Array.from({ length: count }, (_, i) => start({ ...setup, name: `member${i}` })))

const stopAll = (members: ReadonlyArray<Member>) => Promise.all(members.map(({ stop }) => stop()))

/** Runs an experiment with its own Redis. */
const onServer = async <A>(use: (url: string, server: Admin) => Promise<A>): Promise<A> => {
  const scope = Scope.makeUnsafe()
  try {
    const { url } = await Effect.runPromise(Scope.provide(redisServer, scope))
    const server = await admin(url)
    await logSlow(server, 200)
    try {
      return await use(url, server)
    } finally {
      await server.close()
    }
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** The number of commands of the processes. Each command runs one script. */
const scripts = async (server: Admin): Promise<number> => {
  const commands = await server.commands()
  // Version 1 read records by HMGET outside of scripts; INFO counts those of scripts as well.
  return (commands.get("evalsha") ?? 0) + (commands.get("eval") ?? 0)
}

const openIn = async (server: Admin): Promise<number> => Number(await server.send("ZCARD", "{scale}:listed"))

export interface MassOutage {
  readonly keys: number
  readonly processes: number
  /** Seconds until the fleet had opened the circuits of all keys or the bench gave up, and the number of open circuits then. */
  readonly seconds: number
  readonly open: number
  readonly leakedAKey: number
  /** Commands per second and process, on average and in the busiest second. */
  readonly commands: number
  readonly busiest: number
  /** How many processes found the store unavailable. */
  readonly down: number
  /** How many milliseconds the longest command blocked Redis, and the 99th percentile of the commands above 0.2 ms. */
  readonly longestMillis: number
  readonly p99Millis: number
}

/** The dependency of every key goes down at once. */
export const massOutage = (quick: boolean): Promise<MassOutage> =>
  onServer(async (url, server) => {
    const [keys, processes] = [quick ? 1_000 : 10_000, 4]
    const members = await startAll(processes, { url })
    await Promise.all(members.map(({ ask }) => ask({ do: "call", keys })))
    // No process opens a circuit in the first 6 seconds of a store. By then, every key has been called.
    await sleep(8_000)
    const before = await Promise.all(members.map(({ ask }) => ask({ do: "report" })))
    await longest(server)
    const [first, began] = [await scripts(server), performance.now()]
    await Promise.all(members.map(({ ask }) => ask({ do: "dependency", isUp: false })))
    let [open, last, at, busiest] = [0, first, began, 0]
    while (open < keys && performance.now() - began < 60_000) {
      await sleep(250)
      open = await openIn(server)
      const now = performance.now()
      if (now - at < 1_000 && open < keys) continue
      const sent = await scripts(server)
      if (now - at >= 900) busiest = Math.max(busiest, ((sent - last) / (now - at)) * 1_000)
      ;[last, at] = [sent, now]
    }
    const seconds = (performance.now() - began) / 1_000
    const sent = (await scripts(server)) - first
    // Gives all processes time to learn of the last openings.
    await sleep(1_000)
    const after = await Promise.all(members.map(({ ask }) => ask({ do: "report" })))
    const times = await longest(server)
    await stopAll(members)
    const reached = after.reduce((sum, answer, i) => sum + answer.reached - (before[i]?.reached ?? 0), 0)
    return {
      keys,
      processes,
      seconds,
      open,
      leakedAKey: reached / keys,
      commands: sent / seconds / processes,
      busiest: busiest / processes,
      down: after.filter(({ store }) => store.length > 0).length,
      longestMillis: times[0] ?? 0,
      p99Millis: times[Math.floor(times.length * 0.01)] ?? 0
    }
  })

export interface Blocking {
  readonly items: number
  readonly exchanges: number
  /** How many milliseconds one exchange blocks Redis: the median, the 99th percentile and the maximum. */
  readonly p50Millis: number
  readonly p99Millis: number
  readonly longestMillis: number
}

/** Measures the largest exchanges of 50 voters with ballots in the same boxes, one after the other, while nothing else runs. */
export const blocking = (quick: boolean): Promise<Blocking> =>
  onServer(async (url, server) => {
    await logSlow(server, 0)
    const exchanges = quick ? 50 : 500
    const { casts: items } = SharedStore.limits
    const ballot = [1_000, 1, 0, 3, 40, 3, 0, 3_000]
    const all = Effect.flatMap(RedisStore.make({ prefix: "scale", subscribe: false }), (store) =>
      Effect.forEach(
        Array.from({ length: exchanges }, (_, i) => i),
        (i) => {
          const casts = Array.from({ length: items }, (_, n) => ({
            ...{ circuit: `tenant/k${n + items * (i % 10)}`, epoch: 0, box: "2~1a2b3c4" },
            ...{ ballot: [...ballot.slice(0, 3), i, ...ballot.slice(4)], ttl: 10_000, inquire: 300, roll: 30_000 }
          }))
          return store.exchange({
            ...{ voter: `v${i % 50}`, ttl: 60_000, notAfter: undefined, heard: 0, floor: 0, casts, swaps: [] }
          })
        },
        { discard: true }
      )
    )
    await Effect.runPromise(Effect.provide(all, NodeRedis.layer({ url })))
    // The first exchange loads the script.
    const times = (await longest(server)).slice(0, exchanges)
    return {
      items,
      exchanges,
      p50Millis: times[Math.floor(times.length / 2)] ?? Number.NaN,
      p99Millis: times[Math.floor(times.length * 0.01)] ?? Number.NaN,
      longestMillis: times[0] ?? Number.NaN
    }
  })

export interface Newcomer {
  readonly circuits: number
  /** Milliseconds from the start of the process until its layer was built, and until it knew all circuits; NaN if it never did. */
  readonly builtMillis: number
  readonly allMillis: number
  /** How many circuits the process knew before its first call. */
  readonly knownAtOnce: number
  /** The longest page on the server and the longest delay of a timer in the process, in milliseconds. */
  readonly longestPage: number
  readonly longestLag: number
}

/** Measures a process that starts while many circuits are open. */
export const newcomer = (quick: boolean): Promise<Newcomer> =>
  onServer(async (url, server) => {
    const circuits = quick ? 5_000 : 40_000
    const writer = await start({ url })
    await writer.ask({ do: "open", keys: circuits })
    for (let i = 0; i < 600 && (await openIn(server)) < circuits; i++) await sleep(100)
    await writer.stop()
    await longest(server)
    const began = performance.now()
    const late = await start({ url })
    let answer = late.first
    let longestLag = 0
    while (answer.known < circuits && performance.now() - began < 20_000) {
      await sleep(100)
      answer = await late.ask({ do: "report" })
      longestLag = Math.max(longestLag, answer.longestLag)
    }
    const times = await longest(server)
    await late.stop()
    return {
      circuits,
      builtMillis: late.first.builtMillis,
      allMillis: answer.known < circuits ? Number.NaN : answer.upMillis,
      knownAtOnce: late.first.knownAtOnce,
      longestPage: times[0] ?? 0,
      longestLag
    }
  })

export interface Steady {
  readonly circuits: number
  readonly processes: number
  /** The number of observed sync intervals, each 5 seconds. */
  readonly intervals: number
  /** Commands per process and interval. */
  readonly commands: number
  /** The mean and the maximum time of a command on the server, in milliseconds. */
  readonly meanMillis: number
  readonly longestMillis: number
}

/** Measures the commands while many circuits are open and nothing changes. */
export const steady = (quick: boolean): Promise<Steady> =>
  onServer(async (url, server) => {
    const [circuits, processes, intervals] = [quick ? 500 : 2_000, 4, quick ? 2 : 6]
    const members = await startAll(processes, { url })
    await members[0]?.ask({ do: "open", keys: circuits })
    for (let i = 0; i < 300 && (await openIn(server)) < circuits; i++) await sleep(100)
    // By then, all processes have read the circuits.
    await sleep(6_000)
    await longest(server)
    await logSlow(server, 0)
    const first = await scripts(server)
    await sleep(intervals * 5_000)
    const sent = (await scripts(server)) - first
    const times = await longest(server)
    await stopAll(members)
    return {
      circuits,
      processes,
      intervals,
      commands: sent / processes / intervals,
      meanMillis: times.reduce((sum, millis) => sum + millis, 0) / times.length,
      longestMillis: times[0] ?? 0
    }
  })

export interface ColdStart {
  readonly processes: number
  readonly calls: number
  /** Calls that reached the dependency, and processes that admitted such a call. */
  readonly reached: number
  readonly processesThatLet: number
  /** The maximum time until a layer was built, in milliseconds from the start of the process. */
  readonly slowestMillis: number
}

/** Processes start at once while a circuit is open in the whole fleet, and call it as soon as they can. */
export const coldStart = (quick: boolean): Promise<ColdStart> =>
  onServer(async (url) => {
    const [processes, callsAtOnce, rounds] = [20, 20, quick ? 1 : 3]
    const writer = await start({ url })
    await writer.ask({ do: "open one" })
    await sleep(200)
    const firsts: Array<KeysAnswer> = []
    for (let i = 0; i < rounds; i++) {
      const members = await startAll(processes, { url, callsAtOnce })
      firsts.push(...members.map(({ first }) => first))
      await stopAll(members)
    }
    await writer.stop()
    return {
      processes,
      calls: processes * callsAtOnce * rounds,
      reached: firsts.reduce((sum, { reachedAtOnce }) => sum + reachedAtOnce, 0),
      processesThatLet: firsts.filter(({ reachedAtOnce }) => reachedAtOnce > 0).length,
      slowestMillis: Math.max(...firsts.map(({ builtMillis }) => builtMillis))
    }
  })
