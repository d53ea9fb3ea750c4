import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Queue, Stream } from "effect"
import { type RpcClient, type RpcGroup, RpcTest } from "effect/rpc"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Deadline } from "effect-fuse"
import { RpcClientBreaker } from "effect-fuse/rpc"
import { Gone, Users, usersWith } from "./support/users.ts"
import { inspect, quick, rejectionIn, scenario } from "./support/verbs.ts"

const totals = () =>
  Effect.map(inspect(), ({ totals: { failures, ignored, successes } }) => ({ successes, failures, ignored }))

const success = { successes: 1, failures: 0, ignored: 0 }
const failure = { successes: 0, failures: 1, ignored: 0 }
const ignored = { successes: 0, failures: 0, ignored: 1 }

describe("streams", () => {
  type Options = RpcClientBreaker.Options<RpcGroup.Rpcs<typeof Users>>
  const from = (stream: Stream.Stream<string, Gone>, options: Options = {}) =>
    RpcTest.makeClient(Users, { disableFatalDefects: true }).pipe(
      RpcClientBreaker.protect(Users, "api", options),
      Effect.provide(usersWith({ WatchUsers: () => stream }))
    )

  scenario("a stream is one call, until it ends", quick, function* () {
    const client = yield* from(Stream.make("a", "b", "c"))
    assert.deepStrictEqual(yield* Stream.runCollect(client.WatchUsers(undefined)), ["a", "b", "c"])
    assert.deepStrictEqual(yield* totals(), success)
  })

  scenario("a stream that ends is a Success, even if isFailure is true for all errors", quick, function* () {
    const client = yield* from(Stream.make("a"), { isFailure: () => true })
    yield* Stream.runDrain(client.WatchUsers(undefined))
    assert.deepStrictEqual(yield* totals(), success)
  })

  scenario("a stream that dies half-way is a Failure", quick, function* () {
    const client = yield* from(Stream.concat(Stream.make("a"), Stream.die("out of order")))
    yield* Effect.exit(Stream.runDrain(client.WatchUsers(undefined)))
    assert.deepStrictEqual(yield* totals(), failure)
  })

  scenario("a consumer that stops early is a Success, and the server stops", quick, function* () {
    const stopped = yield* Deferred.make<void>()
    const endless = Stream.concat(Stream.make("a"), Stream.never)
    const client = yield* from(Stream.ensuring(endless, Deferred.succeed(stopped, undefined)))
    assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(client.WatchUsers(undefined), 1)), ["a"])
    yield* Deferred.await(stopped)
    assert.deepStrictEqual(yield* totals(), success)
  })

  for (const [what, stream] of [
    ["after an element", Stream.concat(Stream.make("a"), Stream.never)],
    ["before the first element", Stream.never]
  ] as const) {
    scenario(`a consumer that gives up a silent stream ${what} is Ignored`, quick, function* () {
      const client = yield* from(stream)
      const watching = client.WatchUsers(undefined).pipe(Stream.timeout("1 second"), Stream.runDrain)
      const fiber = yield* Effect.forkChild(watching, { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* totals(), ignored)
    })
  }

  for (const [what, stream, deadline, outcome] of [
    ["is a Failure if it had enough time", Stream.never, "10 seconds", failure],
    ["is Ignored if it had too little time", Stream.never, "100 millis", ignored],
    ["is Ignored after an element", Stream.concat(Stream.make("a"), Stream.never), "10 seconds", ignored]
  ] as const) {
    scenario(`a silent stream that the deadline of its caller ends ${what}`, quick, function* () {
      const client = yield* from(stream)
      const watching = Deadline.within(Stream.runDrain(client.WatchUsers(undefined)), deadline)
      const fiber = yield* Effect.forkChild(Effect.exit(watching), { startImmediately: true })
      yield* TestClock.adjust(deadline)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([yield* totals(), (yield* inspect()).inFlight], [outcome, 0])
    })
  }

  scenario("a consumer that is interrupted is Ignored", quick, function* () {
    const client = yield* from(Stream.never)
    const fiber = yield* Effect.forkChild(Stream.runDrain(client.WatchUsers(undefined)), { startImmediately: true })
    yield* Effect.yieldNow
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(yield* totals(), ignored)
  })

  scenario(
    "a stream as a queue uses the same circuit, and the queue fails with the circuit's rejection",
    quick,
    function* () {
      const client = yield* from(Stream.concat(Stream.make("a"), Stream.die("out of order")))
      const first = yield* client.WatchUsers(undefined, { asQueue: true })
      assert.strictEqual(yield* Queue.take(first), "a")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Queue.take(first))))
      assert.deepStrictEqual(yield* totals(), failure)
      const second = yield* client.WatchUsers(undefined, { asQueue: true })
      rejectionIn(yield* Effect.exit(Queue.take(second)))
    }
  )

  for (const [what, options, most] of [
    ["16 elements", {}, 16],
    ["the number of elements in streamBufferSize", { streamBufferSize: 3 }, 3]
  ] as const) {
    scenario(`a queue holds ${what}`, quick, function* () {
      let produced = 0
      const numbers = Stream.map(Stream.rechunk(Stream.range(1, 100), 1), (n) => {
        produced++
        return String(n)
      })
      const self = Effect.succeed({ WatchUsers: () => numbers } as unknown as RpcClient.FromGroup<typeof Users>)
      const client = yield* RpcClientBreaker.protect(self, Users, "api")
      yield* client.WatchUsers(undefined, { ...options, asQueue: true })
      yield* TestClock.adjust("1 second")
      // The stream has produced another element. This element waits for space in the queue.
      assert.strictEqual(produced, most + 1)
    })
  }

  scenario("the first element of a probe closes the circuit", { ...quick, cooldown: "1 millis" }, function* () {
    const client = yield* from(Stream.concat(Stream.make("a"), Stream.never))
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("10 seconds")
    const seen = yield* Deferred.make<void>()
    const watching = Stream.runForEach(client.WatchUsers(undefined), () => Deferred.succeed(seen, undefined))
    yield* Effect.forkChild(watching)
    yield* Deferred.await(seen)
    assert.strictEqual(yield* CircuitBreaker.state("api"), "Closed")
  })

  scenario("after its first element, a probe can be interrupted", { ...quick, cooldown: "1 millis" }, function* () {
    const client = yield* from(Stream.concat(Stream.make("a"), Stream.never))
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("10 seconds")
    const seen = yield* Deferred.make<void>()
    const watching = Stream.runForEach(client.WatchUsers(undefined), () => Deferred.succeed(seen, undefined))
    const fiber = yield* Effect.forkChild(watching)
    yield* Deferred.await(seen)
    yield* Fiber.interrupt(fiber)
    const exit = yield* Fiber.await(fiber)
    assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    assert.deepStrictEqual(yield* totals(), success)
  })

  scenario(
    "a silent stream that is a probe gives its slot back after probeTimeout",
    { ...quick, probeTimeout: "1 second" },
    function* () {
      const client = yield* from(Stream.never)
      yield* CircuitBreaker.open("api")
      yield* TestClock.adjust("10 seconds")
      const fiber = yield* Effect.forkChild(Stream.runDrain(client.WatchUsers(undefined)), { startImmediately: true })
      assert.strictEqual(rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 }))).reason, "ProbesBusy")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* client.GetUser({ id: 1 }), "user 1")
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Closed")
      yield* Fiber.interrupt(fiber)
    }
  )

  scenario("a stream takes no permit before its first pull", quick, function* () {
    const client = yield* from(Stream.make("a"))
    client.WatchUsers(undefined)
    assert.deepStrictEqual(yield* CircuitBreaker.list, [])
  })

  const broken: ReadonlyArray<readonly [what: string, options: Options]> = [
    ["isFailure throws", { isFailure: () => assert.fail("broken") }],
    ["classify throws", { classify: () => assert.fail("broken") }],
    ["classify dies", { classify: () => Effect.die("broken") }],
    ["classify returns no outcome", { classify: () => 7 as never }]
  ]
  for (const [what, options] of broken) {
    scenario(`if ${what}, the stream keeps its error, and counts by the default classification`, quick, function* () {
      const client = yield* from(Stream.fail(new Gone()), options)
      assert.instanceOf(yield* Effect.flip(Stream.runDrain(client.WatchUsers(undefined))), Gone)
      assert.deepStrictEqual([yield* totals(), (yield* inspect()).inFlight], [failure, 0])
    })
  }

  for (const [what, stream, outcome] of [
    ["ended", Stream.make("a"), success],
    ["failed", Stream.die("out of order"), failure]
  ] as const) {
    scenario(`a stream counts once it has ${what}, while its scope is still open`, quick, function* () {
      const client = yield* from(stream)
      const pull = yield* Stream.toPull(client.WatchUsers(undefined))
      yield* Effect.exit(Effect.forever(pull))
      assert.deepStrictEqual([yield* totals(), (yield* inspect()).inFlight], [outcome, 0])
    })
  }
})
