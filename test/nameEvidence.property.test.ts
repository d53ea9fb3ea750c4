import { assert, it } from "@effect/vitest"
import { NameEvidence } from "../src/core/nameEvidence.ts"
import { Chance } from "./support/simulation/random.ts"

const hour = 3_600_000

interface Step {
  readonly key: number
  readonly failed: boolean
  readonly after: number
}

/** A simple model of the same rules: a list of keys with their latest outcomes, the oldest first, and the outcomes so far. */
class Model {
  memory: ReadonlyArray<{ readonly key: string; readonly failed: boolean }> = []
  run: ReadonlyArray<string> = []
  calls = 10
  failures = 5
  at = Number.NEGATIVE_INFINITY

  step(now: number, key: string, failed: boolean): void {
    if (now - this.at >= hour) {
      this.memory = []
      this.run = []
      this.calls = 10
      this.failures = 5
    }
    this.at = now
    const isKnown = this.memory.some((one) => one.key === key)
    this.memory = isKnown
      ? this.memory.map((one) => (one.key === key ? { key, failed } : one))
      : [...this.memory, { key, failed }].slice(-32)
    if (failed) {
      if (this.run.at(-1) !== key) this.run = [...this.run, key]
      return
    }
    this.calls += this.run.length + 1
    this.failures += this.run.length
    while (this.calls > 128) {
      this.calls /= 2
      this.failures /= 2
    }
    this.run = []
  }

  get trips(): boolean {
    const failed = this.memory.filter((one) => one.failed).length
    const usual = Math.max(0.5, this.failures / this.calls)
    return (
      this.memory.length >= 8 && failed / this.memory.length >= 0.95 && usual ** this.run.length <= 1e-10 * (1 + 1e-9)
    )
  }
}

/** Long runs of failures are rare by chance, so most steps fail. */
const steps = (seed: number, keys: number): ReadonlyArray<Step> => {
  const chance = new Chance(seed)
  const random = () => chance.next()
  const failing = 0.7 + 0.3 * random()
  return Array.from({ length: Math.floor(400 * random()) }, () => ({
    key: Math.floor(random() * keys),
    failed: random() < failing,
    after: random() < 0.003 ? hour : Math.floor(1_000 * random())
  }))
}

const play = (evidence: NameEvidence, model: Model, all: ReadonlyArray<Step>): number => {
  let now = 0
  let trips = 0
  for (const { after, failed, key } of all) {
    now += after
    model.step(now, `k${key}`, failed)
    if (failed) evidence.recordFailure(now, `k${key}`, 0)
    else evidence.recordSuccess(now, `k${key}`)
    assert.strictEqual(evidence.size, model.memory.length)
    assert.strictEqual(evidence.failures, model.memory.filter((one) => one.failed).length)
    assert.strictEqual(evidence.streak, model.run.length)
    assert.strictEqual(evidence.tripped() !== undefined, model.trips)
    if (model.trips) trips++
  }
  return trips
}

it.each([1, 7, 8, 12, 31, 32, 33, 60, 1_000])("the memory of %d keys agrees with a list of all outcomes", (keys) => {
  let trips = 0
  for (let seed = 0; seed < 200; seed++) trips += play(new NameEvidence(), new Model(), steps(seed, keys))
  if (keys < 8) assert.strictEqual(trips, 0)
  else assert.isAbove(trips, 0)
})

it("a memory that was cleared behaves as a new one", () => {
  for (let seed = 0; seed < 100; seed++) {
    const evidence = new NameEvidence()
    play(evidence, new Model(), steps(seed, 40))
    evidence.clear()
    play(evidence, new Model(), steps(seed + 1_000, 40))
  }
})

it("the latest retryAfter since the last success is kept", () => {
  const evidence = new NameEvidence()
  evidence.recordFailure(1_000, "a", 5_000)
  evidence.recordFailure(2_000, "b", 1_000)
  assert.strictEqual(evidence.hintUntil, 6_000)
  evidence.recordSuccess(3_000, "b")
  assert.strictEqual(evidence.hintUntil, 0)
})
