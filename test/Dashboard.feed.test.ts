import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Random, Schema, Stream } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { apply } from "../page/model.ts"
import { Board } from "../src/dashboard/board.ts"
import { noDetails } from "../src/dashboard/details.ts"
import { makeFeed } from "../src/dashboard/feed.ts"
import { makePages } from "../src/dashboard/pages.ts"
import type { CircuitsRead, NamesRead, Reader } from "../src/dashboard/reader.ts"
import type { Change, PageView, TransitionView } from "../src/dashboard/view.ts"
import type { Known } from "../src/store/known.ts"
import { overviewOf } from "../src/store/overview.ts"
import { StoreError } from "../src/store/SharedStore.ts"

const states = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"] as const

const known = (name: string, key: string | undefined, state: Known["state"], epoch: number): Known => ({
  _tag: "Known",
  name,
  key,
  epoch,
  state,
  since: epoch,
  outage: state === "Closed" ? undefined : { since: epoch, openings: 1, agreed: { processes: 2, of: 3 } },
  until: state === "Open" ? epoch + 30_000 : undefined,
  overrides: [],
  beneath: undefined,
  openings: 1,
  why: "Tripped",
  reason: `reason ${epoch}`,
  actor: undefined,
  process: "p"
})

const digest = (names: ReadonlyArray<readonly [name: string, calls: number]>) => ({
  millis: 5_000,
  others: [],
  leftOut: 0,
  names: names.map(([name, calls]) => ({
    ...{ name, calls, successes: calls, failures: 0, rejected: calls % 3, slow: 0, passed: 0 },
    ...{
      inFlight: 1,
      keys: 2,
      notClosed: 0,
      limit: undefined,
      p50: 10,
      p95: calls % 2 === 0 ? undefined : 20,
      worst: []
    }
  }))
})

/** A store whose content a test sets. */
const fake = () => {
  const content = {
    circuits: [] as ReadonlyArray<Known>,
    names: [] as ReadonlyArray<readonly [name: string, calls: number]>,
    lost: false,
    reads: 0,
    changed: true
  }
  const guarded = <A>(operation: "page" | "digests", read: () => A) =>
    Effect.suspend(() =>
      content.lost
        ? Effect.fail(new StoreError({ operation, cause: new Error("connect ECONNREFUSED") }))
        : Effect.succeed(read())
    )
  const reader: Reader = {
    digests: () => new Map(),
    kind: "fleet",
    label: "redis://fake",
    circuits: guarded("page", (): CircuitsRead => {
      content.reads++
      const { changed, circuits } = content
      content.changed = false
      return { circuits, transitions: [], processes: 3, changed }
    }),
    names: guarded(
      "digests",
      (): NamesRead => overviewOf(content.circuits, [digest(content.names)], { at: 0, processes: 3 })
    )
  }
  return { content, reader }
}

const parsed = (bytes: Uint8Array) => {
  const text = new TextDecoder().decode(bytes)
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1] ?? ""
  return { id: field("id"), event: field("event"), data: JSON.parse(field("data")) }
}

const rights = { steer: false, actor: undefined }

const feedOf = (reader: Reader, always = false) => makeFeed(reader, { always })

/** A viewer that keeps all messages. */
const watch = (feed: Effect.Success<ReturnType<typeof makeFeed>>, lastEventId?: string) =>
  Effect.gen(function* () {
    const heard: Array<ReturnType<typeof parsed>> = []
    const stream = yield* feed.join(rights, lastEventId)
    assert.isDefined(stream)
    const fiber = yield* Effect.forkScoped(
      Stream.runForEach(stream ?? Stream.empty, (bytes) => Effect.sync(() => heard.push(parsed(bytes)))),
      { startImmediately: true }
    )
    return { heard, fiber }
  })

const seconds = (n: number) => TestClock.adjust(`${n} seconds`)

describe("the board", () => {
  it.effect.prop(
    "a viewer that applied all changes has the same view as a new viewer",
    [Schema.String],
    ([seed]) =>
      Effect.gen(function* () {
        const board = new Board("fleet", "label")
        const int = (n: number) => Effect.map(Random.nextIntBetween(0, n), Math.floor)
        let at = 1_000_000
        const wire = <A>(value: A): A => JSON.parse(JSON.stringify(value))
        let seen: PageView = wire({ rights, ...board.view() })
        let names: NamesRead | undefined
        for (let step = 0; step < 60; step++) {
          const circuits: Array<Known> = []
          for (const name of ["a", "b", "c", "d"]) {
            for (const key of [undefined, "k1", "k2"]) {
              const state = states[yield* int(9)]
              if (state !== undefined) circuits.push(known(name, key, state, at - (yield* int(3))))
            }
          }
          at += 1_000
          const transition = { at, name: "a", key: undefined, from: "Closed", to: "Open", why: "x", actor: undefined }
          const transitions = (yield* int(2)) === 0 ? [] : [transition as TransitionView]
          const some: Array<readonly [string, number]> = []
          for (const name of ["a", "b", "e"]) if ((yield* int(3)) > 0) some.push([name, yield* int(50)])
          names = step % 5 === 0 ? overviewOf(circuits, [digest(some)], { at, processes: 3 }) : undefined
          const change: Change = board.take(at, { circuits, transitions, processes: 3, changed: true }, names)
          // The feed sends a whole view if the histories have restarted.
          seen = board.restarted ? wire({ rights, ...board.view() }) : apply(seen, wire(change))
          const now: PageView = wire({ rights, ...board.view() })
          const sorted = ({ circuits, ...rest }: PageView) => ({
            ...rest,
            circuits: [...circuits].sort((a, b) => (a.id < b.id ? -1 : 1))
          })
          assert.deepStrictEqual(wire(sorted(seen)), sorted(now), `after step ${step}`)
        }
      }).pipe(Random.withSeed(seed)),
    { arbitrary: { runs: 20 } }
  )

  it("a name whose own circuit is closed shows its worst key", () => {
    const board = new Board("fleet", "label")
    const circuits = [known("a", "k1", "HalfOpen", 5), known("a", "k2", "Open", 9), known("a", "k3", "Open", 7)]
    board.take(10, { circuits, transitions: [], processes: 1, changed: true }, undefined)
    const name = board.circuit("a")
    assert.deepStrictEqual([name?.state, name?.rolledUp, name?.keysDown, name?.why], ["Open", true, 3, "reason 7"])
  })

  it("shows a name as local after two samples, if only some processes have opened it", () => {
    const board = new Board("fleet", "label")
    const read: CircuitsRead = { circuits: [], transitions: [], processes: 3, changed: false }
    const healthy = digest([["a", 1]])
    const ill = { ...healthy, names: healthy.names.map((one) => ({ ...one, notClosed: 1 })) }
    const names = overviewOf([], [ill, healthy], { at: 0, processes: 3 })
    board.take(100_000, read, names)
    assert.strictEqual(board.circuit("a")?.state, "Closed")
    board.take(105_000, read, names)
    const { scope, state, why } = board.circuit("a") ?? {}
    assert.deepStrictEqual([state, scope], ["Open", "local"])
    assert.match(why ?? "", /^1 of 2 processes reject calls/)
  })
})

describe("the feed", () => {
  it.effect("reads nothing without a viewer, and once a second for any number of them", () =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      const feed = yield* feedOf(reader)
      yield* seconds(10)
      assert.strictEqual(content.reads, 0)
      const viewers = yield* Effect.forEach(Array.from({ length: 50 }), () => watch(feed))
      const before = content.reads
      yield* seconds(10)
      assert.strictEqual(content.reads - before, 10)
      for (const { fiber } of viewers) yield* Fiber.interrupt(fiber)
      assert.strictEqual(feed.viewers(), 0)
      yield* seconds(300)
      const after = content.reads
      yield* seconds(300)
      assert.strictEqual(content.reads, after)
    })
  )

  it.effect("sends the same messages to all viewers", () =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      const feed = yield* feedOf(reader)
      const viewers = yield* Effect.forEach(Array.from({ length: 50 }), () => watch(feed))
      content.circuits = [known("a", undefined, "Open", 7)]
      content.changed = true
      yield* seconds(2)
      const [first] = viewers
      assert.deepStrictEqual(
        first?.heard.map(({ event }) => event),
        ["view", "change"]
      )
      assert.strictEqual(first?.heard[1]?.data.circuits[0].state, "Open")
      for (const { heard } of viewers) assert.deepStrictEqual(heard, first?.heard)
    })
  )

  it.effect(
    "sends a large view in parts: circuits that are not closed come first, and only the last part has an id",
    () =>
      Effect.gen(function* () {
        const { content, reader } = fake()
        content.names = Array.from({ length: 400 }, (_, i) => [`healthy-${i}`, 1] as const)
        content.circuits = Array.from({ length: 60 }, (_, i) => known(`zz-${i}`, undefined, "Open", i))
        const feed = yield* feedOf(reader)
        const stream = (yield* feed.join(rights, undefined)) ?? Stream.empty
        const [bytes] = yield* Stream.runCollect(Stream.take(stream, 1))
        const messages = new TextDecoder()
          .decode(bytes)
          .split("\n\n")
          .filter((one) => one !== "")
          .map((one) => parsed(new TextEncoder().encode(one)))
        assert.deepStrictEqual(
          messages.map(({ event, id }) => [event, id !== ""]),
          [
            ["view", false],
            ["more", false],
            ["more", false],
            ["more", true]
          ]
        )
        const parts = messages.map(({ data }) => data.circuits as PageView["circuits"])
        assert.isTrue(parts[0]?.slice(0, 60).every(({ state }) => state === "Open"))
        assert.strictEqual(messages[0]?.data.rest, parts.slice(1).flat().length)
        assert.strictEqual(new Set(parts.flat().map(({ id }) => id)).size, 460)
      })
  )

  it.effect.each([false, true])("sends a message at least every 5 seconds (store lost: %s)", (lost) =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      const { heard } = yield* watch(yield* feedOf(reader))
      content.lost = lost
      for (let i = 1; i <= 6; i++) {
        yield* seconds(5)
        assert.isAtLeast(heard.length, i + 1)
      }
    })
  )

  it.effect("reports at once when the store stops answering, and when the store answers again", () =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      const { heard } = yield* watch(yield* feedOf(reader))
      content.lost = true
      yield* seconds(1)
      const problem = heard.at(-1)?.data.source.problem
      assert.include(problem.message, "ECONNREFUSED")
      yield* seconds(20)
      assert.strictEqual(heard.at(-1)?.data.source.problem.since, problem.since)
      content.lost = false
      content.circuits = [known("a", undefined, "Open", 7)]
      content.changed = true
      yield* seconds(1)
      const { data, event } = heard.at(-1) ?? {}
      assert.strictEqual(data.source.problem, undefined)
      assert.strictEqual(
        event === "view" ? data.circuits.length : data.circuits[0].state,
        event === "view" ? 1 : "Open"
      )
    })
  )

  it.effect("shows a store that is down from the start", () =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      content.lost = true
      const { heard } = yield* watch(yield* feedOf(reader))
      assert.include(heard[0]?.data.source.problem.message, "ECONNREFUSED")
    })
  )

  it.effect("a viewer that reconnects gets the missed messages, or the whole view after a long time", () =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      const feed = yield* feedOf(reader)
      yield* watch(feed)
      const { fiber, heard } = yield* watch(feed)
      yield* Fiber.interrupt(fiber)
      const last = heard.at(-1)?.id
      for (let i = 0; i < 3; i++) {
        content.circuits = [known("a", undefined, "Open", i)]
        content.changed = true
        yield* seconds(1)
      }
      const again = yield* watch(feed, last)
      assert.deepStrictEqual(
        again.heard.map(({ event }) => event),
        ["change", "change", "change"]
      )
      yield* seconds(5 * 130)
      const late = yield* watch(feed, last)
      assert.deepStrictEqual(
        late.heard.map(({ event }) => event),
        ["view"]
      )
    })
  )

  it.effect("the feed drops a viewer that does not read, and all other viewers continue", () =>
    Effect.gen(function* () {
      const { content, reader } = fake()
      const feed = yield* feedOf(reader)
      const { heard } = yield* watch(feed)
      const reads = yield* Latch.make()
      const slow = yield* Effect.forkScoped(
        Stream.runForEach((yield* feed.join(rights, undefined)) ?? Stream.never, () => Latch.await(reads)),
        { startImmediately: true }
      )
      assert.strictEqual(feed.viewers(), 2)
      for (let i = 0; i < 80; i++) {
        content.circuits = [known("a", undefined, "Open", i)]
        content.changed = true
        yield* seconds(1)
      }
      assert.strictEqual(feed.viewers(), 1)
      assert.isAtLeast(heard.length, 80)
      // Its stream ends, so that its browser connects again.
      yield* Latch.open(reads)
      yield* Fiber.await(slow)
    })
  )

  it.effect("does not count a viewer whose response is never sent", () =>
    Effect.gen(function* () {
      const { reader } = fake()
      const feed = yield* feedOf(reader)
      yield* feed.join(rights, undefined)
      assert.strictEqual(feed.viewers(), 0)
    })
  )

  it.effect("ends the stream of a viewer whose rights changed, and resets its last event id", () =>
    Effect.gen(function* () {
      const { reader } = fake()
      let steer = false
      const pages = makePages({
        feed: yield* feedOf(reader),
        act: () => Effect.die("no action"),
        details: () => Effect.succeed(noDetails),
        access: () => Effect.sync(() => ({ see: true, steer })),
        links: []
      })
      const { body } = yield* pages(HttpServerRequest.fromWeb(new Request("http://app.test/api/events")), "/api/events")
      if (body._tag !== "Stream") return assert.fail("the response is not a stream")
      const messages = yield* Effect.forkScoped(Stream.runCollect(body.stream), { startImmediately: true })
      steer = true
      yield* seconds(31)
      const last = new TextDecoder().decode((yield* Fiber.join(messages)).at(-1))
      assert.strictEqual(last, "id\n\n")
    })
  )
})
