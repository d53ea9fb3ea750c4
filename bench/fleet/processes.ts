import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { median, monotonic, type Spread, sleep, spread } from "./figures.ts"
import { type Breaker, breakers, type News, type Order } from "./messages.ts"

type Listener = (news: News, from: number) => void

/** Starts processes, sends orders to them, and returns their reports. */
export class Fleet {
  readonly size: number
  private readonly children: ReadonlyArray<ChildProcess>
  private readonly listeners = new Set<Listener>()

  private constructor(children: ReadonlyArray<ChildProcess>) {
    this.children = children
    this.size = children.length
    for (const [from, child] of children.entries()) {
      child.on("message", (news: News) => {
        for (const listener of this.listeners) listener(news, from)
      })
    }
  }

  static async start(url: string, size: number): Promise<Fleet> {
    const file = fileURLToPath(new URL("member.ts", import.meta.url))
    const children = Array.from({ length: size }, () => fork(file, [url]))
    const fleet = new Fleet(children)
    await Promise.all(children.map((_, who) => fleet.hears(who, "ready", 20_000)))
    return fleet
  }

  listen(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  send(who: number, order: Order): void {
    this.children[who]?.send(order)
  }

  private hears(who: number, said: News["said"], millis = 10_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`process ${who} did not say ${said}`)), millis)
      const stop = this.listen((news, from) => {
        if (from !== who || news.said !== said) return
        clearTimeout(late)
        stop()
        resolve()
      })
    })
  }

  /** Sends an order to a process, and waits until it is carried out. */
  async order(who: number, order: Order): Promise<void> {
    const done = this.hears(who, "done")
    this.send(who, order)
    await done
  }

  all(order: (who: number) => Order): Promise<unknown> {
    return Promise.all(this.children.map((_, who) => this.order(who, order(who))))
  }

  async stop(): Promise<void> {
    const gone = this.children.map((child) =>
      child.exitCode !== null ? Promise.resolve() : new Promise((resolve) => child.once("exit", resolve))
    )
    for (const who of this.children.keys()) this.send(who, { do: "stop" })
    await Promise.race([Promise.all(gone), sleep(2_000)])
    for (const child of this.children) child.kill("SIGKILL")
  }
}

export interface Propagation {
  readonly trips: number
  /** Trips that another process did not learn of within two seconds. */
  readonly unheard: number
  /** The time until the first rejection in each other process, from the answer to the swap, and from its request. */
  readonly fromAnswer: Spread
  readonly fromSent: Spread
}

interface Round {
  readonly from: { sent: number; answered: number }
  readonly to: ReadonlyArray<number>
}

/** Observes what follows an action: which process wrote the record, and when the others rejected a call. */
const observe = async (fleet: Fleet, key: string, act: () => Promise<unknown>): Promise<Round | undefined> => {
  let swap: { from: number; sent: number; answered: number } | undefined
  const rejected = new Map<number, number>()
  const stop = fleet.listen((news, from) => {
    if (news.said === "swapped" && news.circuit.endsWith(key)) {
      swap ??= { from, sent: news.sent, answered: news.answered }
    }
    if (news.said === "rejected" && news.key === key && !rejected.has(from)) rejected.set(from, news.at)
  })
  await act()
  const end = monotonic() + 2_000
  while (monotonic() < end && (swap === undefined || rejected.size < fleet.size)) await sleep(5)
  stop()
  if (swap === undefined || rejected.size < fleet.size) return undefined
  const writer = swap.from
  return { from: swap, to: [...rejected].filter(([from]) => from !== writer).map(([, at]) => at) }
}

const propagated = (rounds: ReadonlyArray<Round | undefined>): Propagation => {
  const heard = rounds.filter((round) => round !== undefined)
  const since = (what: "answered" | "sent") => spread(heard.flatMap(({ from, to }) => to.map((at) => at - from[what])))
  return {
    trips: rounds.length,
    unheard: rounds.length - heard.length,
    fromAnswer: since("answered"),
    fromSent: since("sent")
  }
}

/** Two processes see three failures each. The third sees none, and must learn of the trip from the store. */
const trip = (fleet: Fleet, n: number) => {
  const key = `trip-${String(n).padStart(4, "0")}`
  const failing = [n % fleet.size, (n + 1) % fleet.size]
  return observe(fleet, key, async () => {
    await fleet.all(() => ({ do: "call", key, ok: true, times: 1 }))
    await Promise.all(failing.map((who) => fleet.order(who, { do: "call", key, ok: false, times: 3 })))
  })
}

const isolate = (fleet: Fleet, n: number) => {
  const key = `isolated-${String(n).padStart(4, "0")}`
  return observe(fleet, key, async () => {
    await fleet.all(() => ({ do: "call", key, ok: true, times: 1 }))
    await fleet.order(n % fleet.size, { do: "isolate", key })
  })
}

const publish = (fleet: Fleet, n: number) => {
  const key = `published-${String(n).padStart(4, "0")}`
  return observe(fleet, key, () => fleet.order(n % fleet.size, { do: "publish", key }))
}

/** The three cases take turns. The time of a bare PUBLISH is that of the machine and the connection. */
export const propagation = async (fleet: Fleet, count: number) => {
  type Rounds = Array<Round | undefined>
  const rounds: Record<"trip" | "isolate" | "bare PUBLISH", Rounds> = { trip: [], isolate: [], "bare PUBLISH": [] }
  for (let n = 0; n < count; n++) {
    rounds.trip.push(await trip(fleet, n))
    rounds.isolate.push(await isolate(fleet, n))
    rounds["bare PUBLISH"].push(await publish(fleet, n))
  }
  return {
    trip: propagated(rounds.trip),
    isolate: propagated(rounds.isolate),
    "bare PUBLISH": propagated(rounds["bare PUBLISH"])
  }
}

export interface Leak {
  readonly breaker: Breaker
  /** The failure latency of the dependency, in milliseconds. */
  readonly failureMillis: number
  readonly outages: number
  /** Calls that reached the dependency after the outage began. */
  readonly leaked: ReadonlyArray<number>
  readonly p50: number
  /** The calls that arrive before the first failure ends, which no breaker can prevent: rate x failure latency. */
  readonly floor: number
  readonly excess: number
  /** When the last of these calls arrived, in milliseconds after the beginning, and the median. */
  readonly lasts: ReadonlyArray<number>
  readonly lastAt: number
}

const rate = 50
const healthyMillis = 250
const outageMillis = 450

/** The breakers take turns. Each has the same arrivals. */
export const leaks = async (fleet: Fleet, outages: number, tell: (what: string) => void) => {
  const found = new Map<string, { readonly counts: Array<number>; readonly lasts: Array<number> }>()
  for (let outage = 0; outage < outages; outage++) {
    tell(`leaks, outage ${outage + 1} of ${outages}`)
    for (const failureMillis of [1, 100]) {
      for (const breaker of breakers) {
        const key = `leak-${outage}-${failureMillis}-${breakers.indexOf(breaker)}`
        let down = Number.POSITIVE_INFINITY
        let [leaked, last] = [0, 0]
        const stop = fleet.listen((news, from) => {
          if (news.said !== "calls" || news.key !== key) return
          const now = monotonic()
          const ok = now < down
          if (!ok) {
            leaked++
            last = now - down
          }
          setTimeout(() => fleet.send(from, { do: "answer", id: news.id, ok }), ok ? 1 : failureMillis)
        })
        const millis = healthyMillis + outageMillis + failureMillis
        const arrivals = fleet.all((who) => ({
          do: "arrive",
          breaker,
          key,
          rate,
          millis,
          seed: 1 + outage * 1_000 + failureMillis * 10 + who
        }))
        await sleep(healthyMillis)
        down = monotonic()
        await arrivals
        stop()
        const of = `${breaker} ${failureMillis}`
        const { counts, lasts } = found.get(of) ?? { counts: [], lasts: [] }
        counts.push(leaked)
        lasts.push(last)
        found.set(of, { counts, lasts })
      }
    }
  }
  return [1, 100].flatMap((failureMillis) =>
    breakers.map((breaker): Leak => {
      const { counts = [], lasts = [] } = found.get(`${breaker} ${failureMillis}`) ?? {}
      const [p50, floor] = [median(counts), (rate * fleet.size * failureMillis) / 1_000]
      return {
        breaker,
        failureMillis,
        outages,
        leaked: counts,
        p50,
        floor,
        excess: p50 - floor,
        lasts,
        lastAt: median(lasts)
      }
    })
  )
}
