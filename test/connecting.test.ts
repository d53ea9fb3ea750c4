import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { SharedStore } from "effect-fuse"
import { connecting, type Session } from "../src/connection/connecting.ts"
import { ofGivenClient, ofOwnClient } from "../src/connection/judge.ts"
import { capture, type Line } from "./support/verbs.ts"

type Command = Effect.Effect<unknown, unknown>

const readOnly = Effect.fail(new Error("READONLY You can't write against a read only replica."))
const page: SharedStore.PageAnswer = { time: 1, live: 1, life: "a", epoch: 0, trimmed: 0, listed: 0, changes: [] }
const heartbeat: SharedStore.Exchange = {
  voter: "v",
  ttl: 1_000,
  notAfter: undefined,
  heard: 0,
  floor: 0,
  casts: [],
  swaps: []
}
const done = {
  _tag: "Done",
  time: 1,
  live: 1,
  liveFor: 1,
  life: "a",
  head: 0,
  rollCalls: [],
  casts: [],
  swaps: []
} as const

/** A client: what its commands do, in place of a server. */
interface Client {
  readonly exchange?: Command
  readonly page?: Command
  /** What connecting waits for. */
  readonly connects?: Effect.Effect<void>
  readonly ended?: Effect.Effect<void>
}

const failing = (operation: SharedStore.StoreError["operation"], command: Command, answer: unknown) =>
  Effect.mapError(Effect.as(command, answer), (cause) => new SharedStore.StoreError({ operation, cause })) as never

/** A store that connects, to one client after the other: the last one again and again. */
const store = (
  clients: ReadonlyArray<Client>,
  of: { readonly replaces?: boolean; readonly hearsLate?: boolean } = {}
) =>
  Effect.gen(function* () {
    const opened: Array<number> = []
    const closed: Array<number> = []
    const { hearsLate = true, replaces = true } = of
    const open = Effect.gen(function* () {
      const place = opened.length
      opened.push(place)
      const client = clients[Math.min(place, clients.length - 1)] ?? {}
      yield* Effect.addFinalizer(() => Effect.sync(() => void closed.push(place)))
      yield* client.connects ?? Effect.void
      const session: Session = {
        store: {
          exchange: () => failing("exchange", client.exchange ?? Effect.void, done),
          page: () => failing("page", client.page ?? Effect.void, page),
          load: () => failing("load", Effect.void, { time: 1, records: [] }),
          digests: () => failing("digests", Effect.void, { time: 1, digests: [], next: undefined }),
          changes: Stream.fromEffect(Effect.as(Effect.never, undefined as never))
        },
        ended: client.ended ?? Effect.never
      }
      return session
    })
    const strictness = replaces ? ofOwnClient : ofGivenClient
    const made = yield* connecting({ what: "Redis", strictness, replaces, hearsLate }, open)
    yield* made.connected ?? Effect.void
    const write = Effect.exit(made.exchange(heartbeat))
    const read = Effect.exit(made.page(0, 1))
    return { opened, closed, made, write, read }
  })

/** Time passes in small steps, so that everything that is due meanwhile happens in its order. */
const pass = (millis: number) =>
  Effect.gen(function* () {
    for (let left = millis; left > 0; left -= 100) {
      yield* TestClock.adjust(Math.min(100, left))
      yield* Effect.yieldNow
    }
  })

/** A caller that waits as long as the engine does. */
const hurried = (command: Effect.Effect<unknown, unknown>, millis = 250) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.timeoutOption(command, millis))
    yield* pass(millis)
    yield* Fiber.await(fiber)
  })

const test = (
  name: string,
  body: (warnings: () => ReadonlyArray<string>) => Effect.Effect<void, unknown, Scope.Scope>
) =>
  it.effect(name, () => {
    const lines: Array<Line> = []
    return capture(
      lines,
      body(() => lines.filter(({ level }) => level === "Warn").map(({ message }) => message))
    )
  })

describe("a client that is useless", () => {
  test("is replaced at the first reply of a wrong server, and closed", (warnings) =>
    Effect.gen(function* () {
      const { closed, opened, write } = yield* store([{ exchange: readOnly }, {}])
      const exit = yield* write
      assert.isTrue(Exit.isFailure(exit))
      yield* pass(2_000)
      assert.deepStrictEqual([opened, closed], [[0, 1], [0]])
      assert.isTrue(Exit.isSuccess(yield* write))
      assert.lengthOf(warnings(), 1)
      assert.match(
        warnings()[0] ?? "",
        /^Redis: the connection does not work \(.*READONLY.*\)\. The process replaces its client, with a longer delay each time$/
      )
    }))

  test("is used until the next one is connected", () =>
    Effect.gen(function* () {
      const connects = yield* Deferred.make<void>()
      const { closed, opened, read, write } = yield* store([
        { exchange: readOnly },
        { connects: Deferred.await(connects) }
      ])
      yield* write
      yield* pass(3_000)
      assert.deepStrictEqual([opened, closed], [[0, 1], []])
      assert.isTrue(Exit.isSuccess(yield* read))
      yield* Deferred.succeed(connects, undefined)
      yield* pass(2_000)
      assert.deepStrictEqual(closed, [0])
    }))

  test("answers the commands that are on their way before it is closed", () =>
    Effect.gen(function* () {
      const answered = yield* Deferred.make<void>()
      const { closed, opened, read, write } = yield* store([{ exchange: readOnly, page: Deferred.await(answered) }, {}])
      const reading = yield* Effect.forkChild(read)
      yield* Effect.yieldNow
      yield* write
      yield* pass(700)
      assert.deepStrictEqual([opened, closed], [[0, 1], []])
      yield* Deferred.succeed(answered, undefined)
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(reading)))
      yield* pass(700)
      assert.deepStrictEqual(closed, [0])
    }))

  test("does not interrupt a caller if its command is never answered: the command fails", () =>
    Effect.gen(function* () {
      const { closed, read, write } = yield* store([{ exchange: readOnly, page: Effect.never }, {}])
      const reading = yield* Effect.forkChild(read)
      yield* Effect.yieldNow
      yield* write
      yield* pass(3_000)
      assert.deepStrictEqual(closed, [0])
      const exit = yield* Fiber.join(reading)
      assert.strictEqual(Exit.isFailure(exit) && exit.cause.reasons[0]?._tag, "Fail")
    }))

  test("is replaced more and more rarely, with one warning, while all of them are", (warnings) =>
    Effect.gen(function* () {
      const { closed, opened, write } = yield* store([{ exchange: readOnly }])
      const within: Array<number> = []
      for (let second = 0; second < 600; second++) {
        yield* write
        yield* pass(1_000)
        if (second % 60 === 59) within.push(opened.length)
      }
      assert.isAtMost(within[0] ?? 0, 12)
      assert.isAtMost(opened.length, 12 + 9 * 3)
      assert.isAtLeast(opened.length, 12)
      assert.strictEqual(closed.length, opened.length - 1)
      assert.lengthOf(warnings(), 1)
    }))

  test("is reported again, and replaced soon, after one that was useful for a while", (warnings) =>
    Effect.gen(function* () {
      const { opened, write } = yield* store([{ exchange: readOnly }, { exchange: Effect.delay(readOnly, 1) }, {}])
      yield* write
      yield* pass(61_000)
      assert.lengthOf(opened, 2)
      const writing = yield* Effect.forkChild(write)
      yield* pass(1_000)
      yield* Fiber.await(writing)
      assert.lengthOf(opened, 3)
      assert.lengthOf(warnings(), 2)
    }))

  for (const [what, hearsLate] of [
    ["", true],
    [", also if its commands are interrupted", false]
  ] as const) {
    test(`is replaced if it answers nothing${what}`, (warnings) =>
      Effect.gen(function* () {
        const { closed, made, opened } = yield* store([{ exchange: Effect.never, page: Effect.never }, {}], {
          hearsLate
        })
        for (let i = 0; i < 4; i++) {
          yield* hurried(made.exchange(heartbeat))
          yield* pass(500)
        }
        yield* pass(2_000)
        assert.deepStrictEqual([opened, closed], [[0, 1], [0]])
        assert.match(warnings()[0] ?? "", /no answer for \d+ ms/)
      }))
  }

  test("is replaced if a caller that waits for ever gets no answer", () =>
    Effect.gen(function* () {
      const { opened, write } = yield* store([{ exchange: Effect.never }, {}])
      for (let i = 0; i < 4; i++) {
        const writing = yield* Effect.forkChild(write)
        yield* pass(5_100)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(writing)))
      }
      yield* pass(1_000)
      assert.lengthOf(opened, 2)
    }))

  test("ends the subscription with it, so that the next one is listened to", () =>
    Effect.gen(function* () {
      const { made, write } = yield* store([{ exchange: readOnly }, {}])
      const listening = yield* Effect.forkChild(Effect.exit(Stream.runDrain(made.changes)))
      yield* Effect.yieldNow
      yield* write
      yield* pass(1_000)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(listening)))
      const again = yield* Effect.forkChild(Effect.exit(Stream.runDrain(made.changes)))
      yield* pass(5_000)
      assert.isUndefined(again.pollUnsafe())
      yield* Fiber.interrupt(again)
    }))

  test("of the program is reported once, and never replaced", (warnings) =>
    Effect.gen(function* () {
      const { closed, opened, read, write } = yield* store([{ exchange: readOnly }], { replaces: false })
      for (let i = 0; i < 60; i++) {
        yield* write
        yield* read
        yield* pass(1_000)
      }
      assert.deepStrictEqual([opened, closed], [[0], []])
      assert.lengthOf(warnings(), 1)
      assert.match(warnings()[0] ?? "", /READONLY.*layerConnect/)
    }))
})

describe("a client that is useful is not replaced", () => {
  const healthy: ReadonlyArray<readonly [what: string, client: Client, millis: number, hearsLate?: boolean]> = [
    ["if it answers later than its callers wait", { exchange: Effect.sleep(300), page: Effect.sleep(300) }, 250],
    ["if its callers are in a hurry", { exchange: Effect.sleep(150), page: Effect.sleep(150) }, 20, false],
    ["if it refuses commands", { exchange: Effect.fail(new Error("NOPERM no permission")) }, 250],
    ["if it answers reads, and writes wait for a lock", { exchange: Effect.never }, 250]
  ]
  for (const [what, client, millis, hearsLate = true] of healthy) {
    test(what, (warnings) =>
      Effect.gen(function* () {
        const { made, opened } = yield* store([client], { hearsLate })
        for (let i = 0; i < 40; i++) {
          yield* hurried(made.exchange(heartbeat), millis)
          yield* hurried(made.page(0, 1), millis)
          yield* pass(500)
        }
        assert.lengthOf(opened, 1)
        assert.lengthOf(warnings(), 0)
      })
    )
  }
})

describe("connecting", () => {
  test("is tried again if it hangs, more rarely each time", () =>
    Effect.gen(function* () {
      const opened: Array<number> = []
      const closed: Array<number> = []
      const open = Effect.gen(function* () {
        opened.push(opened.length)
        yield* Effect.addFinalizer(() => Effect.sync(() => void closed.push(closed.length)))
        return yield* Effect.never
      })
      yield* connecting({ what: "Redis", strictness: ofOwnClient, replaces: true, hearsLate: true }, open)
      yield* pass(20_000)
      assert.lengthOf(opened, 2)
      yield* pass(600_000)
      assert.isAtLeast(opened.length, 4)
      assert.isAtMost(opened.length, 8)
      assert.strictEqual(closed.length, opened.length - 1)
    }))

  test("leaves nothing behind when its scope ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { closed, made, opened } = yield* Scope.provide(
        store([{ exchange: readOnly, page: Effect.never }, {}]),
        scope
      )
      yield* Effect.forkChild(Effect.exit(made.page(0, 1)))
      yield* Effect.yieldNow
      yield* Effect.exit(made.exchange(heartbeat))
      yield* pass(400)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual([...closed].sort(), opened)
    }))
})
