import { AsyncLocalStorage } from "node:async_hooks"
import { execFile } from "node:child_process"
import { mock } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { monotonicMillis } from "../src/engine/time.ts"
import { CallbackTimer, CoarseTimer, Delay, ofProcess, Timer } from "../src/engine/timers.ts"
import { PlatformTimers } from "./support/platformTimers.ts"
import { start } from "./support/startTimer.ts"

/** The longest time by which a timeout may fire late, apart from the event loop. */
const tolerance = (millis: number) => Math.max(16, millis / 100)

class Noted extends Timer {
  firedAt: number | undefined = undefined
  private readonly platform: PlatformTimers

  constructor(platform: PlatformTimers) {
    super()
    this.platform = platform
  }

  onDue(): void {
    assert.isUndefined(this.firedAt, "it has fired before")
    this.firedAt = this.platform.time
  }
}

interface Waiting {
  readonly timer: Noted
  readonly millis: number
  readonly startedAt: number
  readonly keepsAlive: boolean
  stopped: boolean
}

// ---- Properties -----------------------------------------------------------------------------------------------------

const durations = Arbitrary.schema(
  Schema.Literals([
    0.5, 1, 7.3, 8, 50, 100, 499.9, 999, 1_000, 1_600.5, 5_000, 9_999, 10_000, 10_050, 60_000, 3_600_000
  ])
)
const step = Arbitrary.all({
  millis: durations,
  keepsAlive: Arbitrary.schema(Schema.Boolean),
  /** Which of the timeouts that were started is stopped; for most steps none. */
  stops: Arbitrary.schema(Schema.Literals([-1, -1, 0, 1, 3, 7])),
  passes: Arbitrary.schema(Schema.Literals([0, 0, 0.1, 1, 3, 8.5, 20, 100, 900, 2_500, 61_000])),
  late: Arbitrary.schema(Schema.Literals([0, 0, 0.3, 5, 40]))
})
const steps = Arbitrary.array(step, { maxLength: 40 })
const runs = { arbitrary: { runs: 400, size: 40, seed: "timers" } }

it.prop(
  "a timeout fires once, never early, and late by at most 1 % or 16 ms; one that is stopped never fires",
  { time: Arbitrary.schema(Schema.Literals([0, 0.7, 123_456.789])), steps },
  ({ time, steps }) => {
    const platform = new PlatformTimers(time)
    const coarse = new CoarseTimer(platform)
    const all: Array<Waiting> = []
    const waiting = () => all.filter(({ stopped, timer }) => !stopped && timer.firedAt === undefined)
    for (const { keepsAlive, late, millis, passes, stops } of steps) {
      const timer = new Noted(platform)
      all.push({ timer, millis, keepsAlive, startedAt: platform.time, stopped: false })
      coarse.add(timer, coarse.lane(millis, keepsAlive))
      const other = all.at(-1 - stops)
      if (stops >= 0 && other !== undefined) {
        other.timer.stop()
        if (other.timer.firedAt === undefined) other.stopped = true
      }
      platform.late = late
      platform.pass(passes)
      assert.strictEqual(coarse.waiting, waiting().length)
      assert.isTrue(coarse.isArmed || coarse.waiting === 0, "timeouts wait, and nothing is armed")
      assert.strictEqual(
        platform.keepsAlive,
        waiting().some((one) => one.keepsAlive)
      )
      assert.isAtMost(platform.count, 1)
    }
    platform.pass(3_700_000)
    for (const { millis, startedAt, stopped, timer } of all) {
      if (stopped) assert.isUndefined(timer.firedAt)
      else {
        const late = (timer.firedAt ?? Infinity) - startedAt - millis
        assert.isAtLeast(late, -1e-6)
        // The event loop is late by up to 40 ms here, and by one millisecond because it counts whole ones.
        assert.isAtMost(late, tolerance(millis) + 41)
      }
    }
    assert.deepStrictEqual([coarse.waiting, coarse.isArmed, platform.count], [0, false, 0])
  },
  runs
)

it.prop(
  "without a late event loop, a timeout is late by at most 1 % or 16 ms, whatever its duration",
  { millis: Arbitrary.schema(Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 10_000_000 }))) },
  ({ millis }) => {
    const platform = new PlatformTimers(3.3)
    const coarse = new CoarseTimer(platform)
    const timer = new Noted(platform)
    coarse.add(timer, coarse.lane(millis, true))
    platform.pass(2 * millis + 20)
    const late = (timer.firedAt ?? Infinity) - 3.3 - millis
    assert.isAtLeast(late, -1e-6)
    assert.isAtMost(late, tolerance(millis))
  },
  runs
)

// ---- The shared timer -----------------------------------------------------------------------------------------------

describe("The shared timer", () => {
  const make = () => {
    const platform = new PlatformTimers()
    const coarse = new CoarseTimer(platform)
    const started = (millis: number) => {
      const timer = new Noted(platform)
      coarse.add(timer, coarse.lane(millis, true))
      return timer
    }
    return { coarse, platform, started }
  }

  it("is armed once for one call after another", () => {
    const { coarse, platform, started } = make()
    for (let i = 0; i < 1_000; i++) started(10_000).stop()
    assert.deepStrictEqual([platform.sets, platform.keepsAlive, coarse.isArmed], [1, false, true])
    platform.pass(1_000)
    assert.deepStrictEqual([platform.sets, coarse.isArmed], [1, false])
  })

  it("fires one hundred thousand timeouts with few timers of the platform", () => {
    const { coarse, platform, started } = make()
    const timers = Array.from({ length: 100_000 }, (_, i) => {
      if (i % 100 === 0) platform.pass(1)
      return started(10_000)
    })
    timers.forEach((timer, i) => {
      if (i % 2 === 0) timer.stop()
    })
    platform.pass(11_000)
    assert.isTrue(timers.every((timer, i) => (timer.firedAt === undefined) === (i % 2 === 0)))
    assert.isAtMost(platform.sets, 50)
    assert.deepStrictEqual([coarse.waiting, coarse.isArmed], [0, false])
  })

  it("can be stopped for a timeout by another one that fires with it", () => {
    const { coarse, platform } = make()
    const lane = coarse.lane(100, true)
    const stopped = new Noted(platform)
    const stopping = new (class extends Noted {
      override onDue() {
        super.onDue()
        stopped.stop()
      }
    })(platform)
    coarse.add(stopping, lane)
    coarse.add(stopped, lane)
    platform.pass(200)
    assert.isDefined(stopping.firedAt)
    assert.isUndefined(stopped.firedAt)
  })

  it("lets a timeout start itself again", () => {
    const { coarse, platform } = make()
    const lane = coarse.lane(100, true)
    let fired = 0
    const again = new (class extends Timer {
      onDue() {
        if (++fired < 3) coarse.add(this, lane)
      }
    })()
    coarse.add(again, lane)
    platform.pass(1_000)
    assert.deepStrictEqual([fired, coarse.waiting, platform.sets], [3, 0, 3])
  })

  it("lets a timeout that was stopped before another one start after it", () => {
    const { coarse, platform, started } = make()
    const first = started(100)
    const second = started(100)
    first.stop()
    coarse.add(first, coarse.lane(100, true))
    platform.pass(200)
    assert.isDefined(first.firedAt)
    assert.isDefined(second.firedAt)
    assert.deepStrictEqual([coarse.waiting, coarse.isArmed], [0, false])
  })

  it("fires with a timeout only those that are due, to the fraction of a millisecond", () => {
    const { platform, started } = make()
    const timers = Array.from({ length: 200 }, () => {
      platform.pass(0.3)
      return { timer: started(1_000), from: platform.time }
    })
    platform.pass(2_000)
    for (const { from, timer } of timers) assert.isAtLeast(timer.firedAt ?? 0, from + 1_000 - 1e-6)
  })

  it("fires the others if one throws", () => {
    const { coarse, platform, started } = make()
    const first = started(100)
    const lane = coarse.lane(100, true)
    coarse.add(
      new (class extends Timer {
        onDue() {
          throw new Error("thrown by a timeout")
        }
      })(),
      lane
    )
    const last = started(100)
    assert.throws(() => platform.pass(200), "thrown by a timeout")
    assert.isDefined(first.firedAt)
    platform.pass(200)
    assert.isDefined(last.firedAt)
    assert.deepStrictEqual([coarse.waiting, coarse.isArmed], [0, false])
  })

  it("fires the shorter of two timeouts first if both are due", () => {
    const { coarse, platform } = make()
    const order: Array<number> = []
    for (const millis of [1_040, 1_000]) {
      coarse.add(
        new (class extends Timer {
          onDue() {
            order.push(millis)
          }
        })(),
        coarse.lane(millis, true)
      )
    }
    platform.late = 90
    platform.pass(2_000)
    assert.deepStrictEqual(order, [1_000, 1_040])
  })

  it("gives timeouts more time that it fires late because of a stall, at most three times", () => {
    const { platform, started } = make()
    const short = started(200)
    const long = started(5_000)
    platform.late = 3_000
    platform.pass(3_200)
    assert.isUndefined(short.firedAt)
    platform.late = 0
    platform.pass(215)
    assert.closeTo(short.firedAt ?? 0, 3_400, 20)
    platform.late = 101
    // It is late again and again: each time it waits for 500 ms more.
    platform.pass(10_000)
    assert.isAtLeast(long.firedAt ?? 0, 5_000 + 3 * 500)
    assert.isAtMost(long.firedAt ?? Infinity, 5_000 + 4 * (500 + 120))
  })
})

// ---- This process ---------------------------------------------------------------------------------------------------

const realSetTimeout = globalThis.setTimeout
const until = async (fact: () => boolean) => {
  for (let i = 0; i < 2_000 && !fact(); i++) await new Promise((resolve) => realSetTimeout(resolve, 10))
  assert.isTrue(fact())
}

describe("The timeouts of this process", () => {
  it("fire, unless they are stopped, one hundred thousand at once", async () => {
    let fired = 0
    class Counted extends Timer {
      onDue() {
        fired++
      }
    }
    const delay = new Delay(20)
    const timers = Array.from({ length: 100_000 }, () => {
      const timer = new Counted()
      delay.start(timer)
      return timer
    })
    for (const timer of timers.slice(50_000)) timer.stop()
    await until(() => fired === 50_000 && ofProcess.waiting === 0)
    await until(() => !ofProcess.isArmed)
    assert.strictEqual(fired, 50_000)
  })

  it("count from the given time", async () => {
    let fired = false
    const timer = new CallbackTimer(() => {
      fired = true
    })
    new Delay(60_000).start(timer, monotonicMillis() - 60_000)
    await until(() => fired)
  })

  it("never end if their duration is Infinity", () => {
    const timer = start(Infinity, () => assert.fail())
    assert.strictEqual(ofProcess.waiting, 0)
    timer.stop()
  })

  it("do not keep the asynchronous context of a call", async () => {
    const storage = new AsyncLocalStorage<string>()
    let seen: unknown = "nothing"
    storage.run("a request", () =>
      start(1, () => {
        seen = storage.getStore()
      })
    )
    await until(() => seen !== "nothing")
    assert.isUndefined(seen)
  })

  const module = fileURLToPath(new URL("../src/engine/timers.ts", import.meta.url))
  const support = fileURLToPath(new URL("support/startTimer.ts", import.meta.url))
  const outputOf = async (program: string, setUp = "") => {
    const imports = `
      const { Delay, ofProcess } = await import(${JSON.stringify(module)})
      const { start } = await import(${JSON.stringify(support)})
    `
    const args = ["--input-type=module", "--no-warnings", "--eval", setUp + imports + program]
    return (await promisify(execFile)(process.execPath, args, { timeout: 60_000 })).stdout
  }

  it("keep the process alive while they wait", async () => {
    assert.strictEqual(await outputOf(`start(300, () => console.log("fired"))`), "fired\n")
  })

  it("that are started with `false` do not keep the process alive", async () => {
    assert.strictEqual(await outputOf(`start(3_600_000, () => {}, false); console.log("end")`), "end\n")
  })

  it("do not keep the process alive while they are stopped", async () => {
    const program = `
      start(3_600_000, () => {}).stop()
      start(3_600_000, () => {}, false)
      start(100, () => console.log("fired"))
      const other = start(3_600_000, () => {})
      setTimeout(() => other.stop(), 50)`
    assert.strictEqual(await outputOf(program), "fired\n")
  })

  it("that are restarted get more time after another stall", async () => {
    const program = `
      const block = (millis) => {
        const until = performance.now() + millis
        while (performance.now() < until);
      }
      const stalling = setInterval(() => block(300), 1)
      let fired = 0
      const timer = start(50, () => {
        console.log("timed out")
        if (++fired > 1) return
        clearInterval(stalling)
        new Delay(50).start(timer)
        setTimeout(() => console.log("answer"), 150)
        setImmediate(() => block(1_000))
      })`
    assert.strictEqual(await outputOf(program), "timed out\nanswer\ntimed out\n")
  })

  const ofWorkers = `Object.defineProperty(globalThis, "navigator", { value: { userAgent: "Cloudflare-Workers" } })\n`
  const alone: Readonly<Record<string, string>> = {
    "with numbers as timers, as in browsers": `
      const timers = []
      const { setTimeout: set, clearTimeout: clear } = globalThis
      globalThis.setTimeout = (run, millis) => timers.push(set(run, millis)) - 1
      globalThis.clearTimeout = (timer) => clear(timers[timer])
    `,
    "that ends the timers of a request with it, as Cloudflare Workers do": ofWorkers
  }
  for (const [where, setUp] of Object.entries(alone)) {
    it(`have one timer each on a platform ${where}`, async () => {
      const program = `
        start(30, () => console.log("fired"))
        start(3_600_000, () => console.log("stopped")).stop()
        console.log(ofProcess.waiting)`
      assert.strictEqual(await outputOf(program, setUp), "0\nfired\n")
    })

    it(`get more time after a stall, so that an answer that has arrived is read first, on a platform ${where}`, async () => {
      const program = `
        start(50, () => console.log("timed out"))
        setTimeout(() => console.log("answer"), 60)
        const until = performance.now() + 1_000
        while (performance.now() < until);`
      assert.strictEqual(await outputOf(program, setUp), "answer\ntimed out\n")
    })
  }

  it("that are started with `false` do not keep the process alive on a platform with one timer each", async () => {
    const program = `start(3_600_000, () => {}, false); console.log("end")`
    assert.strictEqual(await outputOf(program, ofWorkers), "end\n")
  })
})

// ---- Fake timers ----------------------------------------------------------------------------------------------------

interface Fake {
  readonly start: () => void
  readonly advance: (millis: number) => void
  readonly stop: () => void
}

const byVitest = (options?: Parameters<typeof vi.useFakeTimers>[0]): Fake => ({
  start: () => void vi.useFakeTimers(options),
  advance: (millis) => void vi.advanceTimersByTime(millis),
  stop: () => void vi.useRealTimers()
})

const fakes: Readonly<Record<string, Fake>> = {
  "vi.useFakeTimers()": byVitest(),
  "vi.useFakeTimers, setTimeout only": byVitest({ toFake: ["setTimeout", "clearTimeout"] }),
  "node:test's mock.timers.enable()": {
    start: () => mock.timers.enable(),
    advance: (millis) => mock.timers.tick(millis),
    stop: () => mock.timers.reset()
  },
  "node:test's, with setTimeout only": {
    start: () => mock.timers.enable({ apis: ["setTimeout"] }),
    advance: (millis) => mock.timers.tick(millis),
    stop: () => mock.timers.reset()
  }
}

afterEach(() => {
  // First, because vitest keeps the timers that it finds when it is first used.
  mock.timers.reset()
  vi.useRealTimers()
})

for (const [name, fake] of Object.entries(fakes)) {
  describe(`Under fake timers, ${name},`, () => {
    it("a timeout fires exactly when the fake time reaches it", () => {
      fake.start()
      let fired = 0
      start(5_000, () => fired++)
      fake.advance(4_999)
      assert.strictEqual(fired, 0)
      fake.advance(1)
      assert.strictEqual(fired, 1)
      fake.advance(60_000)
      assert.strictEqual(fired, 1)
    })

    it("a timeout that is stopped does not fire, and leaves no timer", () => {
      fake.start()
      const timer = start(5_000, () => assert.fail())
      timer.stop()
      timer.stop()
      if (name.startsWith("vi")) assert.strictEqual(vi.getTimerCount(), 0)
      fake.advance(60_000)
    })

    it("a timeout longer than the longest one of setTimeout fires in time", () => {
      fake.start()
      let fired = 0
      start(2 ** 31 + 1_000, () => fired++)
      fake.advance(2 ** 31 - 1)
      fake.advance(1_000)
      assert.strictEqual(fired, 0)
      fake.advance(1)
      assert.strictEqual(fired, 1)
    })

    it("a timeout from before fires in real time, whatever the fake time is", async () => {
      let fired = 0
      start(30, () => fired++)
      start(3_600_000, () => assert.fail(), false).stop()
      fake.start()
      fake.advance(1_000_000)
      assert.strictEqual(fired, 0)
      await until(() => fired === 1)
    })

    it("a timeout from before can be stopped", async () => {
      const timer = start(3_600_000, () => assert.fail())
      fake.start()
      timer.stop()
      assert.strictEqual(ofProcess.waiting, 0)
      fake.advance(4_000_000)
    })

    it("timeouts that wait when the fake timers are removed can be stopped, and disturb no later ones", async () => {
      fake.start()
      let lost = 0
      const timer = start(20, () => lost++)
      start(20, () => lost++)
      fake.stop()
      timer.stop()
      let fired = 0
      start(20, () => fired++)
      await until(() => fired === 1)
      fake.start()
      start(20, () => fired++)
      fake.advance(20)
      assert.deepStrictEqual([fired, lost], [2, 0])
    })
  })
}

it("If a timeout is stopped while the global timers are replaced, it does not fire and does not call the replaced clearTimeout", () => {
  vi.useFakeTimers()
  const timer = start(20, () => assert.fail())
  const { clearTimeout, setTimeout } = globalThis
  try {
    Object.assign(globalThis, { setTimeout: realSetTimeout, clearTimeout: () => assert.fail() })
    timer.stop()
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout })
  }
  vi.advanceTimersByTime(1_000)
})
