import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schedule, Scope } from "effect"
import { CircuitBreaker, Trip } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import * as RedisStore from "effect-fuse/RedisStore"
import type { Browser, Page } from "playwright-core"
import { afterAll } from "vitest"
import type { CircuitView } from "../src/dashboard/view.ts"
import { encode } from "../src/store/digest.ts"
import { axe, browser, type Opened, open } from "./support/browser.ts"
import { start } from "./support/commandLine.ts"
import { postgresServer } from "./support/postgresServer.ts"
import { prepared } from "./support/prepared.ts"
import { type Process, startProcesses } from "./support/processes.ts"
import { cpuMillis } from "./support/programs.ts"
import { type Connection, connection, standsAt, trip, until } from "./support/redisFleet.ts"
import { redisServer } from "./support/redisServer.ts"
import * as sqlFleet from "./support/sqlFleet.ts"

const token = "a-token-of-the-tests"

/** The address of a page that the command line serves. */
const serving = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const served = yield* start(["serve", "--port", "0", ...args])
    let url = ""
    yield* until(
      "the page is served",
      Effect.sync(() => {
        url = /http:\/\/\S+/.exec(served.out())?.[0] ?? ""
        return url !== ""
      })
    )
    return { url, pid: served.pid }
  })

const say = <A>(promise: () => Promise<A>): Effect.Effect<A> => Effect.promise(promise)

const trouble = (page: Page, name: string) => page.locator("li.trouble", { has: page.getByRole("link", { name }) })

const closeTo = (scope: Scope.Closeable) => Effect.runPromise(Scope.close(scope, Exit.void))

/** What all tests share. Each test has circuits of its own. */
interface Shared {
  readonly chrome: Browser
  readonly redis: string
  readonly connection: Connection
  readonly url: string
  readonly pid: number
  readonly fleet: ReadonlyArray<Process>
}

let shared: Shared
const scope = Effect.runSync(Scope.make())

prepared(async () => {
  const make = Effect.gen(function* () {
    const chrome = yield* browser
    const { url: redis } = yield* redisServer
    const fleet = yield* startProcesses(3, (i) => ({
      url: redis,
      name: `shop-${i}`,
      callEvery: 100,
      policy: { trip: Trip.consecutive(3), cooldown: "60 seconds" }
    }))
    const link = "Metrics=https://metrics.example/d/{name}?key={key}"
    const { pid, url } = yield* serving(["--redis", redis, "--token", token, "--link", link])
    return { chrome, redis, connection: yield* connection(redis), url, pid, fleet }
  })
  shared = await Effect.runPromise(Scope.provide(make, scope))
}, 120_000)

afterAll(() => closeTo(scope))

const asOperator = (options = {}) => open(shared.chrome, `${shared.url}?token=${token}`, options)
const asViewer = (options = {}) => open(shared.chrome, shared.url, options)

/** Fails a dependency in all processes until its circuit is open for the fleet. */
const breakDown = (circuit: string) =>
  until(
    `${circuit} is open`,
    Effect.gen(function* () {
      for (const one of shared.fleet) yield* one.ask("call", { circuit, finds: "down" })
      const all = yield* Effect.forEach(shared.fleet, (one) => one.ask("standing", { circuit }))
      return all.flat().every(({ scope, state }) => state === "Open" && scope === "fleet")
    })
  )

const use = (circuit: string) => Effect.forEach(shared.fleet, (one) => one.ask("call", { circuit, finds: "up" }))

/** The store as an operator sees it. */
const withStore = <A, E>(f: (store: Effect.Success<ReturnType<typeof RedisStore.make>>) => Effect.Effect<A, E>) =>
  Effect.orDie(Effect.provideContext(Effect.flatMap(RedisStore.make({}), f), shared.connection))

/** Starts a measurement. Returns a function that reads the share of a core that the process has used since the start. */
const cpuOf = (pid: number): (() => number) => {
  const before = { at: Date.now(), millis: cpuMillis(pid) }
  return () => (cpuMillis(pid) - before.millis) / (Date.now() - before.at)
}

const unharmed = (page: Opened) => assert.deepStrictEqual(page.problems, [])

const text = (page: Page, selector: string) => say(() => page.locator(selector).first().innerText())

describe("the page of a fleet on Redis", () => {
  it.live("shows a dependency that fails: its name, its state, why, and how many processes agreed", () =>
    Effect.gen(function* () {
      const page = yield* asViewer()
      yield* use("mail")
      yield* breakDown("mail")
      const row = trouble(page, "mail")
      yield* say(() => row.waitFor())
      // A browser does not lay out a new row before its next frame. Until then, the row has no text.
      let said = ""
      yield* until(
        "the row has its text",
        say(async () => {
          said = await row.innerText()
          return said !== ""
        })
      )
      assert.match(said, /Open/)
      assert.match(said, /\d failures in a row/)
      assert.match(said, /[23] of 3 processes agreed/)
      assert.match(said, /Next try\s+in \d+ (s|min)/)
      assert.match(said, /Down for\s+\d+ (s|min)/)
      assert.match(yield* text(page, ".source"), /3 processes/)
      // The traffic of healthy circuits, from the digests.
      const api = page.locator("tbody tr", { hasText: "api" })
      yield* say(() => api.locator("svg.spark").waitFor())
      assert.match(yield* say(() => api.innerText()), /\d+ \/s/)
      unharmed(page)
    })
  )

  it.live("shows the processes, the last failures, the policy and links on the page of a circuit", () =>
    Effect.gen(function* () {
      yield* breakDown("stock level")
      const page = yield* asViewer()
      yield* say(() => trouble(page, "stock level").getByRole("link").click())
      yield* say(() => page.getByText("Not closed in 3 of 3 processes").waitFor())
      const processes = page.locator("table.processes tbody tr")
      const names = yield* say(() => processes.locator("th").allInnerTexts())
      assert.deepStrictEqual(names.toSorted(), ["shop-0", "shop-1", "shop-2"])
      const failures = page.locator("section", { has: page.getByRole("heading", { name: "Last failures" }) })
      assert.match(yield* say(() => failures.innerText()), /down\s+in 3 processes/)
      assert.match(yield* say(() => failures.innerText()), /trip\s+3 failures in a row\s+cooldown\s+1m/)
      const link = page.getByRole("link", { name: "Metrics" })
      assert.strictEqual(yield* say(() => link.getAttribute("href")), "https://metrics.example/d/stock%20level?key=")
      unharmed(page)
    })
  )

  it.live("shows what another policy would have done with the traffic of a circuit", () =>
    Effect.gen(function* () {
      yield* breakDown("pricing")
      const rejected = Effect.forEach(shared.fleet, (one) => one.ask("call", { circuit: "pricing", finds: "down" }))
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(rejected, Effect.sleep(200))))
      const page = yield* asViewer()
      yield* say(() => trouble(page, "pricing").getByRole("link").click())
      const row = (name: string) => page.locator("table.courses tbody tr", { hasText: name })
      const figures = (name: string) =>
        say(async () => (await row(name).locator("td").allInnerTexts()).map((text) => text.trim()))
      yield* until(
        "calls were rejected",
        Effect.map(
          Effect.andThen(
            say(() => row("What happened").waitFor()),
            figures("What happened")
          ),
          ([, rejections = "0"]) => Number(rejections) > 10
        )
      )
      // With this policy, the circuit never opens, and the rejected calls fail.
      const field = (label: RegExp) => page.locator("form.policy").getByLabel(label)
      yield* say(() => field(/failures in a row/).fill("10000"))
      yield* say(() => field(/calls in 10 s/).fill("1000000"))
      const [notClosed, rejections, failed = ""] = yield* figures("With this policy")
      assert.deepStrictEqual([notClosed, rejections], ["0 s", "0"])
      assert.isAbove(Number(failed), 10)
      // An invalid value changes nothing.
      yield* say(() => field(/failures in a row/).fill("0"))
      assert.strictEqual(yield* say(() => field(/failures in a row/).getAttribute("aria-invalid")), "true")
      assert.strictEqual((yield* figures("With this policy"))[1], "0")
      yield* say(() => field(/failures in a row/).fill("1"))
      yield* until(
        "the circuit would have rejected",
        Effect.map(figures("With this policy"), ([, rejections]) => rejections !== "0")
      )
      assert.deepStrictEqual(yield* axe(page), [])
      unharmed(page)
    })
  )

  it.live("isolates a circuit for an operator, and every process rejects; then releases it", () =>
    Effect.gen(function* () {
      yield* use("ranking")
      const page = yield* asOperator()
      yield* say(() => page.getByRole("link", { name: "ranking" }).first().click())
      yield* say(() => page.getByRole("heading", { level: 1, name: "ranking" }).waitFor())
      assert.notInclude(page.url(), token)
      yield* say(() => page.getByRole("button", { name: "Isolate" }).click())
      const dialog = page.getByRole("dialog")
      yield* say(() => dialog.getByLabel("Reason").fill("empty lists, INC-4711"))
      yield* say(() => dialog.getByLabel("Your name").fill("maria"))
      assert.match(yield* say(() => dialog.innerText()), /Concerns 3 processes/)
      yield* say(() => dialog.getByRole("button", { name: "Isolate" }).click())
      yield* say(() => dialog.getByText("The circuit is isolated now. 3 processes").waitFor())
      yield* say(() => dialog.getByRole("button", { name: "Done" }).click())
      yield* until(
        "every process rejects",
        Effect.map(
          Effect.forEach(shared.fleet, (one) => one.ask("call", { circuit: "ranking", finds: "up" })),
          (all) => all.flat().every((one) => one.startsWith("Isolated"))
        )
      )
      yield* say(() => page.getByText("empty lists, INC-4711").first().waitFor())
      yield* say(() => page.getByText("maria").first().waitFor())
      yield* say(() => page.getByRole("button", { name: "Release" }).click())
      yield* say(() => dialog.getByRole("button", { name: "Release" }).click())
      yield* say(() => dialog.getByText("The circuit is closed now").waitFor())
      yield* until(
        "every process calls",
        Effect.map(use("ranking"), (all) => all.flat().every((one) => one === "ok"))
      )
      unharmed(page)
    })
  )

  it.live("has no buttons for a viewer without the token, and refuses the viewer's requests", () =>
    Effect.gen(function* () {
      yield* breakDown("basket")
      const page = yield* asViewer()
      yield* say(() => trouble(page, "basket").waitFor())
      assert.strictEqual(yield* say(() => page.getByRole("button", { name: /Isolate|Close|Release/ }).count()), 0)
      yield* say(() => trouble(page, "basket").getByRole("link").click())
      yield* say(() => page.getByRole("heading", { name: "History" }).waitFor())
      assert.strictEqual(yield* say(() => page.getByRole("button", { name: /Isolate|Close|Release/ }).count()), 0)
      const status = yield* say(() =>
        page.evaluate(async () => {
          const init = { method: "POST", headers: { "content-type": "application/json" } }
          return (await fetch("./api/action", { ...init, body: '{"action":"close","name":"basket"}' })).status
        })
      )
      assert.strictEqual(status, 403)
      const wrong = yield* open(shared.chrome, `${shared.url}?token=${token}x`)
      assert.match(yield* say(() => wrong.innerText("body")), /not valid/)
      const [standing] = yield* Effect.forEach(shared.fleet, (one) => one.ask("standing", { circuit: "basket" }))
      assert.strictEqual(standing?.[0]?.state, "Open")
    })
  )

  it.live("shows foreign text as text", () =>
    Effect.gen(function* () {
      const image = '<img src="x" onerror="document.title=1">'
      const turned = "user\u202egpj.exe"
      // Half of a surrogate pair is not valid in a URL.
      const names = [image, turned, "javascript:alert(1)", "../../x?y=z#w", "half \ud83d"]
      yield* withStore((store) =>
        Effect.gen(function* () {
          for (const name of names) {
            yield* Operator.isolate(store, name, { reason: `${image}${turned}`, actor: image })
            yield* Operator.isolate(store, "keys", { key: name })
          }
        })
      )
      const page = yield* asOperator()
      yield* say(() => page.getByText(image, { exact: true }).first().waitFor())
      assert.strictEqual(yield* say(() => page.locator("img[src=x]").count()), 0)
      const shown = yield* say(() => page.locator("body").innerText())
      assert.notInclude(shown, "\u202e")
      assert.include(shown, "user\\u202egpj.exe")
      for (const name of [image, turned, "../../x?y=z#w"]) {
        const shownName = name.replace("\u202e", "\\u202e")
        yield* say(() => page.getByRole("link", { name: shownName, exact: true }).first().click())
        yield* say(() => page.getByRole("heading", { level: 1, name: shownName }).waitFor())
        yield* say(() => page.getByRole("heading", { name: "History" }).waitFor())
        yield* say(() => page.getByRole("link", { name: "All circuits" }).click())
      }
      unharmed(page)
      yield* withStore((store) =>
        Effect.forEach(names, (name) =>
          Effect.andThen(Operator.reset(store, name), Operator.reset(store, "keys", { key: name }))
        )
      )
    })
  )

  it.live.each([
    ["light", 1280],
    ["dark", 1280],
    ["light", 390],
    ["dark", 390]
  ] as const)("axe finds nothing wrong in the %s scheme at %i pixels", ([colorScheme, width]) =>
    Effect.gen(function* () {
      yield* breakDown("search")
      const page = yield* asOperator({ colorScheme, viewport: { width, height: 850 } })
      yield* say(() => trouble(page, "search").waitFor())
      yield* say(() => page.locator("tbody tr", { hasText: "api" }).waitFor())
      assert.deepStrictEqual(yield* axe(page), [])
      // Nothing is cut off at the side.
      assert.isAtMost(yield* say(() => page.evaluate(() => document.documentElement.scrollWidth)), width)
      yield* say(() => trouble(page, "search").getByRole("button", { name: "Isolate" }).click())
      assert.deepStrictEqual(yield* axe(page), [])
      yield* say(() => page.keyboard.press("Escape"))
      yield* say(() => trouble(page, "search").getByRole("link").click())
      yield* say(() => page.getByRole("heading", { name: "History" }).waitFor())
      assert.deepStrictEqual(yield* axe(page), [])
      assert.isAtMost(yield* say(() => page.evaluate(() => document.documentElement.scrollWidth)), width)
      unharmed(page)
    })
  )

  it.live("can be searched, filtered and sorted by keyboard", () =>
    Effect.gen(function* () {
      yield* use("alpha-1")
      yield* use("alpha-2")
      const page = yield* asViewer()
      const rows = page.locator("tbody tr")
      yield* say(() => rows.filter({ hasText: "alpha-2" }).waitFor())
      yield* say(() => page.keyboard.press("/"))
      yield* say(() => page.keyboard.type("alpha-"))
      yield* say(() => page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 2))
      yield* say(() => page.getByRole("button", { name: "Calls" }).focus())
      yield* say(() => page.keyboard.press("Enter"))
      yield* say(() => page.locator('th[aria-sort="descending"]', { hasText: "Calls" }).waitFor())
      yield* say(() => page.keyboard.press("Escape"))
      yield* say(() => rows.filter({ hasText: "api" }).waitFor())
      yield* say(() => page.getByRole("button", { name: /disabled/ }).focus())
      yield* say(() => page.keyboard.press("Space"))
      yield* say(() => page.locator('button[aria-pressed="true"]').waitFor())
      unharmed(page)
    })
  )

  it.live("gives 50 viewers the same changes, at little cost", () =>
    Effect.gen(function* () {
      const ends = new AbortController()
      yield* Effect.addFinalizer(() => Effect.sync(() => ends.abort()))
      const heard = Array.from({ length: 50 }, () => "")
      yield* Effect.forEach(
        heard,
        (_, i) =>
          say(async () => {
            const response = await fetch(`${shared.url}api/events`, { signal: ends.signal })
            assert.strictEqual(response.status, 200)
            const decoder = new TextDecoder()
            void (async () => {
              for await (const bytes of response.body ?? []) heard[i] += decoder.decode(bytes, { stream: true })
            })().catch(() => undefined)
          }),
        { concurrency: "unbounded" }
      )
      const cpuShare = cpuOf(shared.pid)
      yield* breakDown("fifty")
      const changes = (stream: string) =>
        new Map(
          Array.from(stream.matchAll(/^id: (\S+)\nevent: change\n.*\ndata: (.*)\n\n/gm), ([, id, data]) => [id, data])
        )
      const knows = (stream: string) =>
        [...changes(stream).values()].some((data = "null") =>
          JSON.parse(data).circuits.some((one: CircuitView) => one.name === "fifty" && one.state === "Open")
        )
      yield* until(
        "all viewers know it",
        Effect.sync(() => heard.every(knows))
      )
      const [first = new Map(), ...rest] = heard.map(changes)
      for (const other of rest) {
        for (const [id, data] of other) if (first.has(id)) assert.strictEqual(data, first.get(id))
        assert.isAtLeast(other.size, 1)
      }
      yield* Effect.sleep(5_000)
      const share = cpuShare()
      yield* Effect.log(`50 viewers: ${(share * 100).toFixed(1)} % of a core`)
      assert.isBelow(share, 0.5)
    })
  )

  it.live("shows 1,000 circuits and 200 processes without a long task", () =>
    Effect.gen(function* () {
      const { url: redis } = yield* redisServer
      const own = yield* connection(redis)
      const made = Effect.provideContext(RedisStore.make({}), own)
      const store = yield* Effect.orDie(made)
      const nameOf = (n: number) => `circuit-${n.toString().padStart(4, "0")}`
      const beat = (round: number) =>
        Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          (i) => {
            const names = Array.from({ length: 50 }, (_, j) => {
              const calls = 100 + ((i * 7 + j * 13 + round * 31) % 50)
              return {
                ...{ name: nameOf((i % 20) * 50 + j), calls, successes: calls - 3 },
                ...{ failures: 3, rejected: 0, slow: 0, passed: 0, inFlight: 1, keys: 0, notClosed: 0 },
                ...{ limit: undefined, p50: 12, p95: 80, worst: [] }
              }
            })
            const empty = { notAfter: undefined, heard: 0, floor: 0, casts: [], swaps: [] }
            return store.exchange({ ...empty, voter: `p${i}`, ttl: 60_000, digest: encode(5_000, names) })
          },
          { concurrency: 20, discard: true }
        )
      yield* Effect.orDie(beat(0))
      for (let i = 0; i < 40; i++) yield* Effect.orDie(Operator.open(store, nameOf(i * 25)))
      const { pid, url } = yield* serving(["--redis", redis])
      const page = yield* open(shared.chrome, "about:blank")
      yield* say(() =>
        page.addInitScript(() => {
          const long: Array<number> = []
          Object.assign(globalThis, { long })
          new PerformanceObserver((list) => {
            for (const { duration } of list.getEntries()) long.push(duration)
          }).observe({ type: "longtask", buffered: true })
        })
      )
      yield* say(() => page.goto(url))
      yield* say(() => page.locator("tbody tr").nth(29).waitFor())
      const cpuShare = cpuOf(pid)
      const first = (yield* say(() => page.evaluate("long.splice(0)"))) as Array<number>
      for (let round = 1; round <= 3; round++) {
        yield* Effect.orDie(beat(round))
        yield* Effect.sleep(5_000)
      }
      const later = (yield* say(() => page.evaluate("long.splice(0)"))) as Array<number>
      const share = cpuShare()
      yield* Effect.log(
        `1,000 circuits, 200 processes: server ${(share * 100).toFixed(1)} % of a core; tasks over 50 ms while it loads: ${first}; afterwards: ${later}`
      )
      assert.match(yield* say(() => page.locator(".source").innerText()), /200 processes/)
      // A page of the table has a fixed size, whatever the number of circuits is.
      yield* say(() => page.getByText("1 to 30 of 1,000").waitFor())
      for (let i = 0; i < 33; i++) yield* say(() => page.getByRole("button", { name: "Next" }).click())
      yield* say(() => page.getByText("991 to 1,000 of 1,000").waitFor())
      yield* say(() => page.getByRole("link", { name: "circuit-0999" }).waitFor())
      assert.strictEqual(yield* say(() => page.getByRole("button", { name: "Next" }).isDisabled()), true)
      assert.strictEqual(yield* say(() => page.locator("tbody tr").count()), 10)
      yield* say(() => page.getByRole("searchbox").fill("circuit-0007"))
      yield* say(() => page.getByRole("link", { name: "circuit-0007" }).waitFor())
      // The machine may be busy with other tests: the bound is generous.
      assert.isBelow(Math.max(0, ...first), 1_000)
      assert.isBelow(Math.max(0, ...later), 400)
      assert.isBelow(share, 0.6)
      unharmed(page)
    })
  )
})

describe("a store that dies", () => {
  it.live("is shown as lost at once, and as live when it is back", () =>
    Effect.gen(function* () {
      const server = yield* redisServer
      const own = yield* connection(server.url)
      const store = yield* Effect.orDie(Effect.provideContext(RedisStore.make({}), own))
      yield* Effect.orDie(Operator.isolate(store, "kept", { reason: "before" }))
      const { url } = yield* serving(["--redis", server.url])
      const page = yield* open(shared.chrome, url)
      yield* say(() => trouble(page, "kept").waitFor())
      yield* server.kill
      const alert = page.getByRole("alert")
      yield* say(() => alert.getByText(/store has not answered since/).waitFor())
      // What is on the screen stays, marked as old.
      assert.strictEqual(yield* say(() => trouble(page, "kept").count()), 1)
      assert.strictEqual(yield* say(() => page.locator(".page.stale").count()), 1)
      yield* server.start
      yield* say(() => alert.waitFor({ state: "detached" }))
      // The server came back empty.
      yield* say(() => trouble(page, "kept").waitFor({ state: "detached" }))
      unharmed(page)
    })
  )

  it.live("and a server that dies is shown, too", () =>
    Effect.gen(function* () {
      const inner = yield* Scope.make()
      const { url } = yield* Scope.provide(serving(["--redis", shared.redis]), inner)
      const page = yield* open(shared.chrome, url)
      yield* say(() => page.getByText("Live").waitFor())
      yield* Scope.close(inner, Exit.void)
      yield* say(() =>
        page
          .getByRole("alert")
          .getByText(/No connection/)
          .waitFor()
      )
    })
  )
})

describe("the page of a fleet on PostgreSQL", () => {
  it.live("shows an outage, and isolates for all processes", () =>
    Effect.gen(function* () {
      const { url: database } = yield* postgresServer
      const place = yield* sqlFleet.onPostgres(database)
      const connections = yield* Effect.forEach([1, 2], () => sqlFleet.connect(place.url))
      const policy = { trip: Trip.consecutive(3), cooldown: "60 seconds" } as const
      const fleet = yield* Effect.forEach(connections, (one, i) =>
        sqlFleet.replica(one, { policy, process: `bank-${i}` })
      )
      const { url } = yield* serving(["--database", place.url, "--token", token])
      const page = yield* open(shared.chrome, `${url}?token=${token}`)
      yield* trip(fleet, { circuit: "ledger" })
      yield* say(() => trouble(page, "ledger").waitFor())
      yield* say(() => trouble(page, "ledger").getByRole("button", { name: "Isolate" }).click())
      yield* say(() => page.getByRole("dialog").getByRole("button", { name: "Isolate" }).click())
      yield* say(() => page.getByRole("dialog").getByText("The circuit is isolated now").waitFor())
      yield* standsAt(fleet, "Isolated (fleet)", { circuit: "ledger" })
      yield* say(() => page.getByRole("dialog").getByRole("button", { name: "Done" }).click())
      // A process probes: the page names it.
      const [first, second] = fleet
      assert.isDefined(first)
      assert.isDefined(second)
      yield* Effect.orDie(first.run(CircuitBreaker.open("rates", { for: "300 millis" })))
      yield* standsAt(fleet, "Open (fleet)", { circuit: "rates" })
      yield* Effect.sleep(300)
      yield* Effect.forkScoped(
        second.run(Effect.retry(CircuitBreaker.protect(Effect.never, "rates"), Schedule.spaced("100 millis")))
      )
      yield* say(() => trouble(page, "rates").getByRole("link").click())
      const probing = page.locator("dl.facts div", { hasText: "Probing" })
      yield* say(() => probing.waitFor())
      assert.match(yield* say(() => probing.innerText()), /bank-1/)
      unharmed(page)
    })
  )
})
