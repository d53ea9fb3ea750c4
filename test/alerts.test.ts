import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Schedule, type Scope } from "effect"
import { type BreakerMetrics, BreakerStore, CircuitBreaker, MemoryStore, SharedStore } from "effect-fuse"
import { type Expected, testRules } from "./support/promtool.ts"
import { scrapes, type Target, target, within } from "./support/scrapes.ts"

const docs = (file: string) => fileURLToPath(new URL(`../docs/${file}`, import.meta.url))
const rules = docs("prometheus-alerts.yml")

const panels: ReadonlyMap<string, string> = new Map(
  JSON.parse(readFileSync(docs("grafana-dashboard.json"), "utf8")).panels.map(
    ({ targets, title }: { readonly title: string; readonly targets: ReadonlyArray<{ readonly expr: string }> }) => [
      title,
      targets[0]?.expr
    ]
  )
)

type Answer = "succeeds" | "fails" | "hangs" | "is slow"

/** The behavior of a dependency, by the seconds that have passed. */
type Dependency = (seconds: number) => Answer

const minutes = (n: number) => n * 60

/** A dependency that answers in the given way during these minutes, and succeeds before and after. */
const during = (answer: Answer, ...times: ReadonlyArray<readonly [from: number, to: number]>): Dependency => {
  return (seconds) =>
    times.some(([from, to]) => seconds >= minutes(from) && seconds < minutes(to)) ? answer : "succeeds"
}

const ask = (dependency: Dependency) =>
  Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<void, string> => {
    switch (dependency(now / 1_000)) {
      case "succeeds":
        return Effect.sleep("50 millis")
      case "is slow":
        return Effect.sleep("3 seconds")
      case "fails":
        return Effect.andThen(Effect.sleep("20 millis"), Effect.fail("503"))
      case "hangs":
        return Effect.never
    }
  })

interface Traffic {
  readonly name?: string
  readonly keys?: ReadonlyArray<string | undefined>
  readonly everyMillis?: number
}

/** Calls a dependency again and again, under the default policy. Calls do not wait for one another. */
const traffic = (dependency: Dependency, { everyMillis = 1_000, keys = [undefined], name = "users" }: Traffic = {}) => {
  const calls = keys.map((key) => CircuitBreaker.protect(Effect.timeout(ask(dependency), "10 seconds"), name, { key }))
  const once = Effect.forEach(calls, (call) => Effect.forkDetach(Effect.exit(call)), { discard: true })
  return Effect.repeat(once, Schedule.spaced(everyMillis))
}

/** A process that calls a dependency. */
const calling = (dependency: Dependency, how?: Traffic, metrics?: BreakerMetrics.Options) =>
  Effect.gen(function* () {
    const one = yield* target("a:80", { metrics: metrics ?? {} })
    yield* within(one, traffic(dependency, how))
    return [one]
  })

/** The expectation for a time such as `10m`: the alerts that fire, and the values of panels. */
interface Moment {
  /** Each alert with the name or the instance that it is about. */
  readonly firing?: ReadonlyArray<string>
  /** The values by the title of the panel, rounded to a thousandth. */
  readonly panels?: Readonly<Record<string, Readonly<Record<string, number>>>>
}

interface Scenario {
  readonly start: Effect.Effect<ReadonlyArray<Target>, never, Scope.Scope>
  readonly everySeconds?: number
  readonly forMinutes: number
  readonly at: Readonly<Record<string, Moment>>
  /** The alerts that fire at any time. */
  readonly ever: ReadonlyArray<string>
}

const about = (alerts: ReadonlyArray<string>) =>
  Object.fromEntries(
    alerts.map((alert) => {
      const [name, of = ""] = alert.split(" ")
      return [`{alertname="${name}",${of.includes(":") ? "instance" : "name"}="${of}"}`, 1]
    })
  )

const expectations = ({ at, everySeconds = 15, ever, forMinutes }: Scenario): ReadonlyArray<Expected> => [
  {
    expr: `sum by (alertname, name, instance) (max_over_time(ALERTS{alertstate="firing"}[${forMinutes}m]))`,
    at: `${forMinutes}m`,
    samples: about(ever)
  },
  ...Object.entries(at).flatMap(([at, { firing, panels: shown = {} }]) => [
    ...(firing === undefined
      ? []
      : [{ expr: `sum by (alertname, name, instance) (ALERTS{alertstate="firing"})`, at, samples: about(firing) }]),
    ...Object.entries(shown).map(([title, samples]) => ({ expr: panel(title, everySeconds), at, samples }))
  ])
]

/** The expression of a panel, as Grafana sends it for all circuits. */
const panel = (title: string, everySeconds: number): string => {
  const expr = panels.get(title)
  if (expr === undefined) throw new Error(`no panel "${title}"`)
  return `round(${expr.replaceAll("$name", ".*").replaceAll("$__rate_interval", `${4 * everySeconds}s`)}, 0.001)`
}

/** Fails in the first 20 of every 100 seconds. */
const flapping: Dependency = (seconds) =>
  seconds >= minutes(10) && seconds < minutes(50) && seconds % 100 < 20 ? "fails" : "succeeds"

type Samples = Readonly<Record<string, number>>

const users = (value: number): Samples => ({ '{name="users"}': value })
const all = (value: number): Samples => ({ "{}": value })

/** The values of each panel for the circuit `users` in one process without a shared store. */
const allPanels = (shown: {
  readonly down: number
  readonly outagesInHour: number
  readonly state?: "Open" | "HalfOpen"
  readonly seconds?: number
  readonly outcomes: Readonly<Record<"success" | "failure", number>>
  readonly rejected: number
  readonly failureRate: number
  readonly p95: number
  readonly inFlight: number
  readonly to?: { readonly Open: number; readonly HalfOpen: number }
  readonly slow?: number
  readonly outages?: number
}): Readonly<Record<string, Samples>> => ({
  "Down now": all(shown.down),
  "Isolated or disabled now": all(0),
  "Outages, last hour": all(shown.outagesInHour),
  Store: {},
  "Circuits that are not closed": shown.state === undefined ? {} : { [`{name="users",state="${shown.state}"}`]: 1 },
  "Time down": shown.seconds === undefined ? {} : users(shown.seconds),
  "Calls by outcome": Object.fromEntries(
    Object.entries({ ...shown.outcomes, ignored: 0 }).map(([outcome, rate]) => [
      `{name="users",outcome="${outcome}"}`,
      rate
    ])
  ),
  "Rejected calls": users(shown.rejected),
  "Failure rate": users(shown.failureRate),
  "p95 duration": users(shown.p95),
  "Calls in flight": users(shown.inFlight),
  Transitions: Object.fromEntries(
    ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"].map((to) => [
      `{name="users",to="${to}"}`,
      (to === "Open" ? shown.to?.Open : to === "HalfOpen" ? shown.to?.HalfOpen : 0) ?? 0
    ])
  ),
  "Slow calls": users(shown.slow ?? 0),
  "Circuits in memory": { '{instance="a:80"}': 1 },
  Outages: users(shown.outages ?? 0),
  Openings: users(shown.to?.Open ?? 0)
})

const keys = Array.from({ length: 20 }, (_, i) => `k${i}`)

/** Two processes that share a store in memory, one of them without traffic of its own. */
const sharing = (dependency: Dependency, away: (seconds: number) => boolean = () => false) =>
  Effect.gen(function* () {
    const memory = yield* MemoryStore.make
    const unless = <A>(self: Effect.Effect<A, SharedStore.StoreError>) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        away(now / 1_000) ? Effect.fail(new SharedStore.StoreError({ operation: "page", cause: "away" })) : self
      )
    const store: SharedStore.SharedStore = {
      ...memory,
      exchange: (...args) => unless(memory.exchange(...args)),
      page: (...args) => unless(memory.page(...args)),
      load: (...args) => unless(memory.load(...args))
    }
    const targets = yield* Effect.forEach(["a:80", "b:80"], (instance) =>
      target(instance, { store: Layer.orDie(BreakerStore.layerShared(store)) })
    )
    for (const one of targets) yield* within(one, traffic(dependency))
    return targets
  })

const scenarios: Readonly<Record<string, Scenario>> = {
  "a healthy day": {
    start: calling((seconds) => (seconds % 97 === 0 ? "fails" : seconds % 211 === 0 ? "is slow" : "succeeds"), {
      everyMillis: 2_000
    }),
    everySeconds: 60,
    forMinutes: 1_440,
    ever: [],
    at: {
      "720m": {
        panels: allPanels({
          down: 0,
          outagesInHour: 0,
          outcomes: { success: 0.496, failure: 0.004 },
          rejected: 0,
          failureRate: 0.008,
          p95: 0.049,
          inFlight: 1,
          slow: 0.004
        })
      }
    }
  },
  "an outage of 40 minutes": {
    start: calling(during("fails", [10, 50])),
    forMinutes: 70,
    ever: ["CircuitOpen users", "CircuitRejectsMany users"],
    at: {
      "9m": { firing: [] },
      "14m": { firing: [] },
      "16m": { firing: ["CircuitOpen users"] },
      "20m": { firing: ["CircuitOpen users", "CircuitRejectsMany users"] },
      // The first of five failures in a row comes after 600.02 seconds. Each probe fails at once.
      "30m": {
        panels: allPanels({
          down: 1,
          outagesInHour: 1,
          state: "Open",
          seconds: 1_195.98,
          outcomes: { success: 0, failure: 0.033 },
          rejected: 0.967,
          failureRate: 1,
          p95: 0.024,
          inFlight: 0,
          to: { Open: 2, HalfOpen: 2 }
        })
      },
      "49m": { firing: ["CircuitOpen users", "CircuitRejectsMany users"] },
      "51m": { firing: ["CircuitRejectsMany users"] },
      "55m": { firing: [] }
    }
  },
  "a dependency that hangs for an hour": {
    start: calling(during("hangs", [10, 70])),
    forMinutes: 90,
    ever: ["CircuitOpen users", "CircuitRejectsMany users"],
    at: {
      "15m": { firing: [] },
      "16m": { firing: ["CircuitOpen users"] },
      ...Object.fromEntries(
        [20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 69].map((minute) => [
          `${minute}m`,
          { firing: ["CircuitOpen users", "CircuitRejectsMany users"] }
        ])
      ),
      // The first call times out after 610 seconds. Each probe hangs for 10 seconds, this one still does.
      "40m45s": {
        panels: allPanels({
          down: 1,
          outagesInHour: 1,
          state: "HalfOpen",
          seconds: 1_831,
          outcomes: { success: 0, failure: 0.017 },
          rejected: 0.967,
          failureRate: 1,
          p95: 9.75,
          inFlight: 1,
          to: { Open: 1, HalfOpen: 2 },
          slow: 0.017
        })
      },
      "75m": { firing: [] }
    }
  },
  "a dependency that flaps": {
    start: calling(flapping),
    forMinutes: 90,
    ever: ["CircuitFlapping users"],
    at: {
      "12m": { firing: [] },
      "20m": { firing: ["CircuitFlapping users"] },
      // The twelfth outage, of one opening each, began at 1704.02 seconds.
      "28m45s": {
        panels: allPanels({
          down: 1,
          outagesInHour: 12,
          state: "Open",
          seconds: 20.98,
          outcomes: { success: 0.583, failure: 0.083 },
          rejected: 0.35,
          failureRate: 0.125,
          p95: 0.049,
          inFlight: 0,
          to: { Open: 1, HalfOpen: 0 },
          outages: 1
        })
      },
      "50m": { firing: ["CircuitFlapping users"] },
      "85m": { firing: [] }
    }
  },
  "two short outages within the hour": {
    start: calling(during("fails", [10, 13], [40, 43])),
    forMinutes: 70,
    ever: [],
    at: { "69m": { panels: { "Outages, last hour": { "{}": 2 } } } }
  },
  "one short outage of a name with 20 keys": {
    start: calling(during("fails", [10, 13]), { keys }),
    forMinutes: 30,
    ever: [],
    at: { "12m": { panels: { "Down now": { "{}": 1 }, "Outages, last hour": { "{}": 20 } } } }
  },
  "a name with 20 keys that all flap": {
    start: calling(flapping, { keys }),
    forMinutes: 30,
    ever: ["CircuitFlapping users"],
    at: { "20m": { firing: ["CircuitFlapping users"] } }
  },
  "an outage of 20 keys that have series of their own": {
    start: calling(during("fails", [10, 20]), { keys }, { keys: true }),
    forMinutes: 30,
    ever: ["CircuitOpen users", "CircuitRejectsMany users"],
    at: {
      "18m": {
        firing: ["CircuitOpen users", "CircuitRejectsMany users"],
        panels: {
          "Down now": all(1),
          "Outages, last hour": all(20),
          "Circuits that are not closed": { '{name="users",state="Open"}': 20 },
          "Circuits in memory": { '{instance="a:80"}': 20 }
        }
      },
      "28m": { firing: [] }
    }
  },
  "an outage of one of 20 keys": {
    start: Effect.gen(function* () {
      const targets = yield* calling(during("succeeds"), { keys })
      for (const one of targets) yield* within(one, traffic(during("fails", [10, 20]), { keys: ["down"] }))
      return targets
    }),
    forMinutes: 30,
    ever: ["CircuitOpen users"],
    at: { "18m": { firing: ["CircuitOpen users"], panels: { "Down now": all(1), "Outages, last hour": all(1) } } }
  },
  "an outage that two processes share": {
    start: sharing(during("fails", [10, 50])),
    forMinutes: 60,
    ever: ["CircuitOpen users", "CircuitRejectsMany users"],
    at: {
      "16m": { firing: ["CircuitOpen users"] },
      "30m": { panels: { "Down now": { "{}": 1 }, "Outages, last hour": { "{}": 1 }, Store: { "{}": 1 } } },
      "55m": { firing: [] }
    }
  },
  "a store that is away for 20 minutes": {
    start: sharing(during("succeeds"), (seconds) => seconds >= minutes(10) && seconds < minutes(30)),
    forMinutes: 45,
    ever: ["CircuitStoreDown a:80", "CircuitStoreDown b:80"],
    at: {
      "11m": { firing: [], panels: { Store: { "{}": 0 } } },
      "15m": { firing: ["CircuitStoreDown a:80", "CircuitStoreDown b:80"] },
      "40m": { firing: [], panels: { Store: { "{}": 1 } } }
    }
  },
  "a store that answers in 20 of every 60 seconds": {
    start: sharing(during("succeeds"), (seconds) => seconds >= minutes(10) && seconds % 60 >= 20),
    forMinutes: 30,
    ever: ["CircuitStoreDown a:80", "CircuitStoreDown b:80"],
    at: { "9m": { firing: [] }, "20m": { firing: ["CircuitStoreDown a:80", "CircuitStoreDown b:80"] } }
  },
  "a store that is away for 20 of every 300 seconds": {
    start: sharing(during("succeeds"), (seconds) => seconds % 300 >= 280),
    forMinutes: 30,
    ever: [],
    at: {}
  },
  "a store that never answers": {
    start: sharing(during("succeeds"), () => true),
    forMinutes: 10,
    ever: ["CircuitStoreDown a:80", "CircuitStoreDown b:80"],
    at: {
      "0m": { panels: { Store: { "{}": 0 } } },
      "3m": { firing: ["CircuitStoreDown a:80", "CircuitStoreDown b:80"] }
    }
  },
  "overrides that last for two hours": {
    start: Effect.gen(function* () {
      const targets = yield* calling(during("succeeds"))
      const override = Effect.all([
        CircuitBreaker.isolate("users", { for: "2 hours" }),
        CircuitBreaker.disable("mail", { for: "30 minutes" })
      ])
      for (const one of targets) yield* within(one, Effect.delay(override, "10 minutes"))
      return targets
    }),
    everySeconds: 60,
    forMinutes: 180,
    ever: ["CircuitIsolatedForLong users", "CircuitRejectsMany users"],
    at: {
      "20m": { panels: { "Isolated or disabled now": { "{}": 2 } } },
      "69m": { firing: ["CircuitRejectsMany users"] },
      "75m": { firing: ["CircuitIsolatedForLong users", "CircuitRejectsMany users"] },
      "170m": { firing: [] }
    }
  },
  "more busy keys than there is room for": {
    start: Effect.gen(function* () {
      const store = Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 5 }))
      const one = yield* target("a:80", { store })
      yield* within(one, Effect.delay(traffic(during("succeeds"), { keys }), "5 minutes"))
      return [one]
    }),
    forMinutes: 10,
    ever: ["CircuitsOverflow a:80"],
    at: { "4m": { firing: [] }, "6m": { firing: ["CircuitsOverflow a:80"] } }
  }
}

describe("the alerts and the panels", () => {
  it("are all tested: each alert fires in a scenario, and the four main scenarios read each panel", () => {
    const names = Array.from(readFileSync(rules, "utf8").matchAll(/- alert: (\w+)/g), ([, name]) => name)
    const fired = Object.values(scenarios).flatMap(({ ever }) => ever.map((alert) => alert.split(" ")[0]))
    assert.sameMembers([...new Set(fired)], names)
    const read = Object.values(scenarios).flatMap(({ at }) =>
      Object.values(at).flatMap((moment) => Object.keys(moment.panels ?? {}))
    )
    const times = (title: string) => read.filter((one) => one === title).length
    assert.deepStrictEqual(
      [...panels.keys()].filter((title) => times(title) < 4),
      []
    )
  })

  it.effect.each(Object.entries(scenarios))(
    "show what happened in %s",
    ([, scenario]) =>
      Effect.gen(function* () {
        const { everySeconds = 15, forMinutes, start } = scenario
        const scraped = yield* scrapes(yield* start, { everySeconds, forSeconds: minutes(forMinutes) })
        yield* Effect.promise(() => testRules({ rules, everySeconds, scraped, expected: expectations(scenario) }))
      }),
    120_000
  )

  it.effect("show which circuit is down, and for how long", () =>
    Effect.gen(function* () {
      const scraped = yield* scrapes(yield* calling(during("fails", [10, 30])), {
        everySeconds: 15,
        forSeconds: minutes(20)
      })
      const alert = {
        name: "CircuitOpen",
        at: "16m",
        labels: { name: "users", severity: "warning" },
        annotations: {
          summary: "Circuit users has been down for 5m 55s",
          description:
            "It has not closed since its first opening: what it calls is down, or seems to be. /breakers shows the start and the reason."
        }
      }
      yield* Effect.promise(() => testRules({ rules, everySeconds: 15, scraped, expected: [], alerts: [alert] }))
    })
  )
})
