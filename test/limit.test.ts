import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { AdaptiveLimit, type Ending, type LimitRules } from "../src/core/limit.ts"

const learning: LimitRules = { objectiveMillis: 0, max: Infinity }

/** A limit, the calls that it admitted, and a clock. */
class World {
  now = 1_000
  /** When the calls in flight began, the oldest first, and how many of the oldest do not count. */
  readonly starts: Array<number> = []
  lost = 0
  movedAt = this.now
  readonly limit: AdaptiveLimit

  constructor(rules: LimitRules = learning, random: () => number = () => 0.5) {
    this.limit = new AdaptiveLimit(rules, random)
  }

  get inFlight(): number {
    return this.starts.length
  }

  /** Counts calls in flight, without calls from before the last close. */
  get counted(): number {
    return this.inFlight - this.lost
  }

  /** Begins a call if the limit admits it. */
  call(): boolean {
    if (!this.limit.admits(this.inFlight, this.now)) {
      const hangs = this.now - this.movedAt >= 10_000 && this.limit.holds && this.limit.restMillis(this.now) === 0
      this.limit.rejected(this.inFlight, this.now)
      if (hangs) this.lose()
      return false
    }
    this.limit.began(this.now)
    this.movedAt = this.now
    this.starts.push(this.now)
    return true
  }

  /** Ends the oldest call. */
  end(ending: Ending, took: number, retryAfter = 0): boolean {
    const start = this.starts.shift() ?? this.now
    if (this.lost > 0) this.lost--
    this.movedAt = this.now
    this.limit.left(start)
    return this.limit.ended(ending, took, this.inFlight + 1, retryAfter, this.now)
  }

  close(probes = 1): void {
    this.limit.closed(probes, this.inFlight, this.now)
    this.lose()
  }

  private lose(): void {
    this.lost = this.inFlight
    this.movedAt = this.now
  }

  /** `count` calls one after the other, `every` milliseconds. */
  each(count: number, ending: Ending, took: number, every = 100): void {
    for (let i = 0; i < count; i++) {
      this.now += every
      if (this.call()) this.end(ending, took)
    }
  }

  /** `count` calls that begin together and end together. */
  burst(count: number, ending: Ending, took: number): void {
    let begun = 0
    for (let i = 0; i < count; i++) if (this.call()) begun++
    this.now += took
    for (let i = 0; i < begun; i++) this.end(ending, took)
  }
}

// ---- Any history ----------------------------------------------------------------------------------------------------

const step = Arbitrary.all({
  advance: Arbitrary.schema(Schema.Literals([0, 0, 1, 30, 100, 900, 5_000, 11_000])),
  calls: Arbitrary.schema(Schema.Literals([0, 1, 2, 5, 40])),
  ends: Arbitrary.schema(Schema.Literals([0, 1, 2, 5, 40])),
  ending: Arbitrary.schema(Schema.Literals(["Success", "Success", "TimedOut", "Refused", "Neutral"])),
  took: Arbitrary.schema(Schema.Literals([0, 0.5, 20, 40, 300, 1_000, 10_000])),
  retryAfter: Arbitrary.schema(Schema.Literals([0, 0, 200, 60_000])),
  closes: Arbitrary.schema(Schema.Literals([false, false, false, false, true])),
  random: Arbitrary.schema(Schema.Literals([0, 0.3, 0.999]))
})
type Step = typeof step extends Arbitrary.Arbitrary<infer A> ? A : never
const histories = Arbitrary.array(step, { maxLength: 60 })
const allRules = Arbitrary.schema(Schema.Literals(["learning", "objective", "bounded"]))
const rulesOf: Readonly<Record<"learning" | "objective" | "bounded", LimitRules>> = {
  learning,
  objective: { objectiveMillis: 200, max: Infinity },
  bounded: { objectiveMillis: 0, max: 7 }
}
const runs = { arbitrary: { runs: 500, size: 60, seed: "limit" } }

interface Seen {
  readonly before: number
  readonly after: number
  readonly ending: Ending
  readonly counts: boolean
  readonly sinceSuccess: number
}

/** Plays a history. `onCall` is called for each call, admitted or not, and `onEnd` for each end. */
const play = (
  kind: keyof typeof rulesOf,
  history: ReadonlyArray<Step>,
  {
    onCall,
    onEnd
  }: {
    readonly onCall?: (world: World, admitted: boolean, value: number, rest: number) => void
    readonly onEnd?: (world: World, seen: Seen) => void
  }
): void => {
  let random = 0
  const world = new World(rulesOf[kind], () => random)
  // Without a success, the time counts from the first call.
  let lastSuccess: number | undefined
  for (const one of history) {
    world.now += one.advance
    random = one.random
    if (one.closes) {
      world.close()
      lastSuccess = world.now
    }
    for (let i = 0; i < one.calls; i++) {
      const value = world.limit.value
      const rest = world.limit.restMillis(world.now)
      const before = world.inFlight
      const admitted = world.call()
      if (admitted) lastSuccess ??= world.now
      onCall?.(world, admitted, value, rest)
      assert.strictEqual(world.inFlight, before + (admitted ? 1 : 0))
    }
    for (let i = 0; i < one.ends && world.inFlight > 0; i++) {
      const before = world.limit.value
      const sinceSuccess = world.now - (lastSuccess ?? world.now)
      const counts = world.end(one.ending, one.took, one.retryAfter)
      if (one.ending === "Success") lastSuccess = world.now
      onEnd?.(world, { before, after: world.limit.value, ending: one.ending, counts, sinceSuccess })
    }
  }
}

describe("in any history", () => {
  it.prop(
    "a call is admitted only below the limit, and always while the limit is infinite",
    [allRules, histories],
    ([kind, history]) => {
      play(kind, history, {
        onCall: ({ counted, inFlight, limit }, admitted, value, rest) => {
          if (admitted) {
            assert.isAtMost(counted, Math.floor(value))
            assert.isAtMost(inFlight, rulesOf[kind].max)
            assert.strictEqual(rest, 0)
          } else if (!limit.holds) assert.isAtLeast(inFlight, rulesOf[kind].max)
        }
      })
    },
    runs
  )

  it.prop(
    "the limit is a number of at least 1",
    [allRules, histories],
    ([kind, history]) => {
      play(kind, history, { onEnd: (_, { after }) => assert.isAtLeast(after, 1) })
    },
    runs
  )

  it.prop(
    "a bad outcome lowers the limit by at most half, a good outcome raises it by at most 3/4, and other outcomes do not change it",
    [histories],
    ([history]) => {
      play("learning", history, {
        onEnd: ({ counted }, { after, before, ending }) => {
          if (before === Infinity) {
            if (after !== Infinity) assert.isAtLeast(after, Math.max(1, (counted + 1) / 2))
          } else if (ending === "Neutral") assert.strictEqual(after, before)
          else if (after !== Infinity) {
            assert.isAtMost(after, before + 3 / 4)
            assert.isAtLeast(after, Math.max(1, before / 2))
            if (ending !== "Success") assert.isAtMost(after, before)
          }
        }
      })
    },
    runs
  )

  it.prop(
    "a rest is at most 5 seconds or the retryAfter of the dependency, and at most the time since the last success",
    [allRules, histories],
    ([kind, history]) => {
      const longest = Math.max(5_000, ...history.map(({ retryAfter }) => retryAfter))
      let lastRest = 0
      play(kind, history, {
        onEnd: ({ limit, now }, { sinceSuccess }) => {
          const rest = limit.restMillis(now)
          assert.isAtMost(rest, longest)
          if (now + rest > lastRest) assert.isAtMost(rest, Math.max(0, sinceSuccess))
          lastRest = now + rest
        }
      })
    },
    runs
  )

  it.prop(
    "overload counts for the trip only if no call has succeeded for 10 seconds; other outcomes always count",
    [allRules, histories],
    ([kind, history]) => {
      play(kind, history, {
        onEnd: (_, { counts, ending, sinceSuccess }) => {
          const isOverload = ending === "TimedOut" || ending === "Refused"
          assert.strictEqual(counts, !isOverload || sinceSuccess >= 10_000)
        }
      })
    },
    runs
  )

  it.prop(
    "the limit is infinite again if all later calls succeed in time",
    [allRules, histories],
    ([kind, history]) => {
      let world: World | undefined
      play(kind, history, {
        onEnd: (one) => {
          world = one
        }
      })
      if (world === undefined) return
      while (world.inFlight > 0) world.end("Neutral", 20)
      world.now += 60_000
      for (let i = 0; i < 300; i++) world.each(1, "Success", Math.min(20, world.limit.target), 100)
      assert.isFalse(world.limit.holds)
    },
    runs
  )
})

// ---- When a limit begins, and how it changes ------------------------------------------------------------------------

describe("a limit begins", () => {
  it("at half of the calls in flight, after more bad outcomes than 4 plus a quarter of the calls in flight", () => {
    const world = new World()
    world.each(50, "Success", 40)
    for (let i = 0; i < 40; i++) world.call()
    for (let i = 0; i < 13; i++) world.end("TimedOut", 1_000)
    // The debt was 13 with 28 in flight: 4 + 28 / 4 = 11 would have been enough.
    assert.isTrue(world.limit.holds)
    assert.isBelow(world.limit.value, 20)
  })

  it.each([
    ["plain failures", "Neutral", 10],
    ["successes that take a hundred times longer, if there is no objective", "Success", 4_000]
  ] as const)("not after %s", (_, ending, took) => {
    const world = new World()
    world.each(50, "Success", 40)
    world.burst(30, ending, took)
    assert.isFalse(world.limit.holds)
  })

  it("after late successes, if there is an objective", () => {
    const world = new World({ objectiveMillis: 200, max: Infinity })
    world.each(50, "Success", 40)
    world.burst(30, "Success", 4_000)
    assert.isTrue(world.limit.holds)
  })

  it("not while most calls succeed", () => {
    const world = new World()
    for (let i = 0; i < 200; i++) {
      world.each(1, "Refused", 1)
      world.each(2, "Success", 40)
    }
    assert.isFalse(world.limit.holds)
  })
})

it("the usual duration is not learned while the limit holds, so overload does not become usual", () => {
  const world = new World()
  world.each(200, "Success", 40)
  world.burst(40, "TimedOut", 1_000)
  const { target } = world.limit
  for (let i = 0; i < 2_000; i++) {
    world.each(3, "Success", 900)
    world.each(1, "TimedOut", 1_000)
  }
  assert.isTrue(world.limit.holds)
  assert.strictEqual(world.limit.target, Math.max(target, 1.5 * 900))
})

it("after a close, the limit begins with the number of probes, and at most doubles per round trip", () => {
  const world = new World()
  world.close()
  let last = 1
  for (let i = 0; i < 40; i++) {
    world.burst(1_000, "Success", 40)
    assert.isAtMost(Math.floor(world.limit.value), 2 * last)
    last = Math.floor(world.limit.value)
  }
  assert.isAbove(last, 20)
})

it("after five refusals in a row, the limit rests as long as the dependency asks, and a close ends the rest", () => {
  const world = new World(learning, () => 0.999)
  world.close()
  world.now += 120_000
  for (let i = 1; i <= 5; i++) {
    assert.isAtMost(world.limit.restMillis(world.now), 5_000)
    world.starts.push(world.now)
    world.end("Refused", 1, 30_000)
  }
  assert.strictEqual(world.limit.restMillis(world.now), 30_000)
  world.close()
  assert.strictEqual(world.limit.restMillis(world.now), 0)
})

it("a limit that begins rests no longer than the time since the last success", () => {
  const world = new World()
  for (let i = 0; i < 60; i++) world.call()
  world.now += 20_000
  for (let i = 0; i < 6; i++) world.end("Refused", 10, 60_000)
  world.end("Success", 40)
  assert.isFalse(world.limit.holds)
  world.now += 1_000
  while (!world.limit.holds) world.end("TimedOut", 1_000)
  assert.isAtMost(world.limit.restMillis(world.now), 1_000)
})

it("the pauses of two processes differ", () => {
  const rest = (random: number) => {
    const world = new World(learning, () => random)
    world.close()
    world.burst(1, "TimedOut", 2_000)
    return world.limit.restMillis(world.now)
  }
  assert.isAbove(rest(0.9), rest(0.1))
  assert.isAbove(rest(0.1), 0)
})

it("calls from before a close do not count, and make no room when they end", () => {
  const world = new World()
  for (let i = 0; i < 20; i++) world.call()
  world.now += 5_000
  world.close(2)
  assert.deepStrictEqual([world.call(), world.call(), world.call()], [true, true, false])
  // A call from before the close ends.
  world.limit.left(1_000)
  assert.isFalse(world.limit.admits(21, world.now))
})

it("calls that hang for 10 seconds no longer count, so that other calls can reach the dependency", () => {
  const world = new World()
  world.close(2)
  assert.deepStrictEqual([world.call(), world.call(), world.call()], [true, true, false])
  world.now += 9_999
  assert.deepStrictEqual([world.call(), world.call()], [false, false])
  world.now += 1
  assert.isFalse(world.call())
  assert.deepStrictEqual([world.call(), world.call(), world.call()], [true, true, false])
})

it("a process that starts during an outage reaches full load, although it has not learned the usual duration", () => {
  const world = new World()
  world.close()
  let seed = 1
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647
    return seed / 2_147_483_647
  }
  for (let i = 0; i < 60; i++) world.burst(40, "Success", 20 + 60 * random())
  assert.isAtLeast(world.limit.value, 40)
})

it("a limit is idle if it is infinite, or if no call was rejected or ended badly for 10 seconds", () => {
  const world = new World()
  assert.isTrue(world.limit.isIdle(world.now))
  world.close()
  assert.isFalse(world.limit.isIdle(world.now + 10_000))
  assert.isTrue(world.limit.isIdle(world.now + 10_001))
})
