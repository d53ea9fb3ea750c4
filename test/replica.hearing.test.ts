import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SharedStore } from "effect-fuse"
import { EventLoop } from "../src/engine/eventLoop.ts"
import { Hearing } from "../src/fleet/rollCalls.ts"
import { StallDetector } from "../src/fleet/stall.ts"
import { StoreClient } from "../src/fleet/storeClient.ts"

const rollCall = (seq: number, prev: number): SharedStore.RollCall => ({
  seq,
  prev,
  circuit: "api",
  epoch: 0,
  box: "b",
  term: 30_000
})

/** A process with the cursor at roll call 10. */
const upTo10 = (): Hearing => {
  const hearing = new Hearing()
  hearing.answered([], 10, hearing)
  hearing.confirm(10)
  return hearing
}

const numbers = (hearing: Hearing) => hearing.queued.map(({ seq }) => seq)

describe("A process that reads roll calls", () => {
  it("queues an announced one that follows the last, once", () => {
    const hearing = upTo10()
    for (const one of [rollCall(11, 10), rollCall(12, 11), rollCall(11, 10), rollCall(12, 11)]) hearing.announced(one)
    assert.deepStrictEqual(numbers(hearing), [11, 12])
    assert.strictEqual(hearing.missing, 0)
  })

  it("does not skip a roll call without an announcement: it asks the store, and reads both in order", () => {
    const hearing = upTo10()
    hearing.announced(rollCall(12, 11))
    assert.deepStrictEqual(numbers(hearing), [])
    assert.isTrue(hearing.isBehind)
    hearing.answered([rollCall(11, 10), rollCall(12, 11)], 12, { ...hearing })
    assert.deepStrictEqual(numbers(hearing), [11, 12])
    assert.strictEqual(hearing.missing, 0)
  })

  it("asks again for one that was announced while the store answered", () => {
    const hearing = upTo10()
    const before = { ...hearing }
    hearing.announced(rollCall(13, 12))
    hearing.answered([rollCall(11, 10)], 11, before)
    assert.strictEqual(hearing.missing, 13)
    hearing.answered([rollCall(12, 11), rollCall(13, 12)], 13, { ...hearing })
    assert.deepStrictEqual([numbers(hearing), hearing.missing], [[11, 12, 13], 0])
  })

  it("does not ask for ever for one that the store has lost", () => {
    const hearing = upTo10()
    hearing.announced(rollCall(13, 12))
    hearing.answered([], 10, { ...hearing })
    assert.isFalse(hearing.isBehind)
  })

  it("keeps what the store has not confirmed", () => {
    const hearing = upTo10()
    for (const one of [rollCall(11, 10), rollCall(12, 11), rollCall(13, 12)]) hearing.announced(one)
    hearing.confirm(12)
    assert.deepStrictEqual([hearing.confirmed, numbers(hearing)], [12, [13]])
  })

  it("starts again when the store has lost its log", () => {
    const hearing = upTo10()
    hearing.announced(rollCall(11, 10))
    hearing.answered([], 0, { ...hearing })
    assert.deepStrictEqual([hearing.latest, hearing.confirmed, numbers(hearing)], [0, 0, []])
    hearing.announced(rollCall(1, 0))
    assert.deepStrictEqual(numbers(hearing), [1])
  })

  it("does not take an answer that an announcement overtook for a log that was lost", () => {
    const hearing = upTo10()
    const before = { ...hearing }
    hearing.announced(rollCall(11, 10))
    hearing.answered([], 10, before)
    assert.deepStrictEqual([hearing.latest, hearing.confirmed, numbers(hearing)], [11, 10, [11]])
  })

  it("asks for the rest where an answer is full", () => {
    const hearing = new Hearing()
    const full = Array.from({ length: SharedStore.limits.rollCalls }, (_, n) => rollCall(n + 1, n))
    hearing.answered(full, 900, { ...hearing })
    assert.deepStrictEqual([hearing.latest, hearing.missing], [SharedStore.limits.rollCalls, 900])
  })

  it("ignores invalid numbers", () => {
    const hearing = upTo10()
    hearing.announced(rollCall(Number.NaN, 10))
    hearing.answered([rollCall(0.5, Number.NaN)], Number.NaN, { ...hearing })
    assert.deepStrictEqual([hearing.latest, numbers(hearing)], [10, []])
  })
})

/** Makes a client with its own clock. The store has scripted answers. */
const linked = () => {
  const clock = { now: 1_000, store: 50_000 }
  const time = { now: () => clock.now, wall: () => clock.now }
  const sent: Array<number | undefined> = []
  const store = { load: () => Effect.succeed({ time: clock.store, records: [] }) } as unknown as SharedStore.SharedStore
  const client = new StoreClient(store, time)
  const done = (time = clock.store) => {
    const store = { time, live: 1, liveFor: 0, life: "life", head: 0 }
    return { _tag: "Done", ...store, rollCalls: [], casts: [], swaps: [] } as const
  }
  /** `takes` milliseconds pass until the answer is there; the store has its time when half of them have passed. */
  const exchange = (takes = 0, answer: () => SharedStore.ExchangeAnswer = () => done(), decidedAt = clock.now) =>
    Effect.runSync(
      Effect.andThen(
        client.learnTime,
        client.exchange(decidedAt, (notAfter) =>
          Effect.sync(() => {
            sent.push(notAfter)
            clock.now += takes / 2
            clock.store += takes / 2
            const found = answer()
            clock.now += takes / 2
            clock.store += takes / 2
            return found
          })
        )
      )
    )
  const pass = (millis: number) => {
    clock.now += millis
    clock.store += millis
  }
  const fail = () =>
    Effect.runSync(
      Effect.andThen(
        client.learnTime,
        client.exchange(clock.now, () =>
          Effect.fail(new SharedStore.StoreError({ operation: "exchange", cause: "refused" }))
        )
      )
    )
  return { clock, done, exchange, fail, client, pass, sent }
}

describe("A command", () => {
  it("has a deadline even if it is the first command: the process first reads the time of the store", () => {
    const { exchange, sent } = linked()
    exchange()
    assert.deepStrictEqual(sent, [50_250])
  })

  it("has a deadline that counts from the receipt of the last answer, not from the request", () => {
    const { exchange, pass, sent } = linked()
    exchange()
    exchange(200)
    pass(1_000)
    exchange()
    // The store answered at 50,100, and the answer arrived at 50,200. These 100 milliseconds do not count.
    assert.strictEqual(sent.at(-1), 50_100 + 1_000 + 250)
  })

  it("has a deadline that counts from the decision about its content: a freeze may delay the sending", () => {
    const { exchange, pass, sent } = linked()
    exchange()
    const decidedAt = 1_000
    pass(5_000)
    exchange(0, undefined, decidedAt)
    assert.strictEqual(sent.at(-1), 50_250)
  })

  it("that is late is not resent: the process first decides a second time", () => {
    const { clock, exchange, sent } = linked()
    exchange()
    clock.store += 3_600_000
    const late = () => ({ _tag: "Late", time: clock.store }) as const
    assert.strictEqual(exchange(0, late)?._tag, "Late")
    assert.strictEqual(sent.length, 2)
    exchange()
    assert.strictEqual(sent.at(-1), clock.store + 250)
  })
})

describe("An answer", () => {
  it("does not tell the store's time if this process reads the answer long after the arrival", () => {
    const { client, clock, done, exchange, pass } = linked()
    exchange()
    const frozen = () => {
      const answer = done(clock.store)
      pass(60_000)
      return answer
    }
    exchange(0, frozen)
    assert.strictEqual(client.storeNow, clock.store)
  })

  it("to a read is not used if this process reads the answer long after the arrival", () => {
    const { client, clock, pass } = linked()
    const read = (takes: number) =>
      Effect.runSync(
        client.read(() =>
          Effect.sync(() => {
            pass(takes)
            return { time: clock.store }
          })
        )
      )
    assert.isDefined(read(1_250))
    assert.isUndefined(read(1_251))
    assert.strictEqual(client.misses, 0)
  })
})

describe("A store is down", () => {
  it("after two failures that are half a second apart, and not after any number within that", () => {
    const { exchange, fail, client, pass } = linked()
    exchange()
    for (let i = 0; i < 10; i++) {
      fail()
      pass(49)
    }
    assert.isFalse(client.down)
    pass(20)
    fail()
    assert.isTrue(client.down)
    exchange()
    assert.isFalse(client.down)
  })

  it("not after one failure, however long ago", () => {
    const { exchange, fail, client, pass } = linked()
    exchange()
    fail()
    pass(60_000)
    assert.isFalse(client.down)
    exchange()
    pass(60_000)
    fail()
    assert.isFalse(client.down)
  })

  it("not while this process stands still", () => {
    const { fail, client, pass } = linked()
    client.isStalled = () => true
    for (let i = 0; i < 5; i++) {
      fail()
      pass(1_000)
    }
    assert.isFalse(client.down)
  })
})

describe("A process stands still", () => {
  it("from when its timer is half a second late", () => {
    const clock = { now: 0 }
    const stall = new StallDetector(new EventLoop(() => clock.now, false))
    clock.now = 1_000
    assert.isFalse(stall.isNow)
    clock.now = 1_001
    assert.isTrue(stall.isNow)
  })
})
