import { forgetAfterMillis } from "./evidence.ts"
import { patienceMillis } from "./limit.ts"

/** The number of keys that are remembered. */
const maxKeys = 32
/** With fewer keys than this, the name does not open. */
const minKeys = 8
/** The share of the remembered keys that must have failed. */
const share = 0.95
/** How unlikely by chance the failures since the last success must be. */
const chance = 1e-10
/** The failure rate of all keys is assumed to be at least this, because a process may not have called most of the keys. */
const leastUsual = 0.5
/** The weight of the past in the usual failure rate. Older calls count half each time that this number is reached. */
const maxCalls = 128
const assumed = { calls: 10, failures: 5 }

/**
 * Decides from the calls of all keys of a name whether nearly all keys fail.
 *
 * Two conditions must be true. Each of them prevents a different wrong decision:
 *
 * - Of the last 32 distinct keys, at least 95 % failed the last time. So a name with some healthy keys does not open, however often the
 *   others fail.
 * - Since the last success of any key there are so many failures that chance does not explain them: with `usual` as the failure rate, their
 *   probability is at most 1e-10. That is 34 failures, or more if more than half of the calls fail usually. Without this, a sample of 32 of
 *   many keys of which 60 % fail would be misleading once in a million calls, and a sample of the first 8 keys once in 60 starts. Several
 *   failures of the same key in a row count once.
 */
export class NameEvidence {
  private readonly slots = new Map<string, number>()
  private readonly keys: Array<string> = []
  private readonly failed: Array<boolean> = []
  /** The slot of the oldest key, which the next new key replaces. */
  private oldest = 0
  /** The number of remembered keys whose latest outcome is a failure. */
  failures = 0
  /** Failures since the last success. */
  streak = 0
  /** The end of the latest `retryAfter` since the last success; 0 if there is none. */
  hintUntil = 0
  private streakKey: string | undefined = undefined
  private lastAt = Number.NEGATIVE_INFINITY
  /** The time of the last success. The first call counts as one. */
  private succeededAt = Number.NEGATIVE_INFINITY
  private usualCalls = assumed.calls
  private usualFailures = assumed.failures

  /** The number of remembered keys. */
  get size(): number {
    return this.keys.length
  }

  /** Whether a success is so recent that overload is no evidence that the dependency is down. */
  isPatient(now: number): boolean {
    this.age(now)
    return now - this.succeededAt < patienceMillis
  }

  recordSuccess(now: number, key: string): void {
    this.age(now)
    this.succeededAt = now
    this.remember(key, false)
    this.usualCalls += this.streak + 1
    this.usualFailures += this.streak
    while (this.usualCalls > maxCalls) {
      this.usualCalls /= 2
      this.usualFailures /= 2
    }
    this.streak = 0
    this.streakKey = undefined
    this.hintUntil = 0
  }

  recordFailure(now: number, key: string, retryAfterMillis: number): void {
    this.age(now)
    this.remember(key, true)
    if (key !== this.streakKey) this.streak++
    this.streakKey = key
    if (retryAfterMillis > 0) this.hintUntil = Math.max(this.hintUntil, now + retryAfterMillis)
  }

  /** Whether nearly all keys fail. If so, returns the reason. */
  tripped(): string | undefined {
    const { failures, size, streak } = this
    if (size < minKeys || failures < size * share || streak < this.limit()) return undefined
    return `the last calls of ${failures} of ${size} keys failed (limit ${share * 100}%), ${streak} failures in a row (limit ${this.limit()})`
  }

  /** The streak that is as unlikely as `chance`. */
  private limit(): number {
    const usual = Math.max(leastUsual, this.usualFailures / this.usualCalls)
    return Math.ceil(Math.log(chance) / Math.log(usual))
  }

  clear(): void {
    this.slots.clear()
    this.keys.length = 0
    this.failed.length = 0
    this.oldest = 0
    this.failures = 0
    this.streak = 0
    this.hintUntil = 0
    this.streakKey = undefined
    this.lastAt = Number.NEGATIVE_INFINITY
    this.succeededAt = Number.NEGATIVE_INFINITY
    this.usualCalls = assumed.calls
    this.usualFailures = assumed.failures
  }

  private age(now: number): void {
    if (now - this.lastAt >= forgetAfterMillis) this.clear()
    this.lastAt = now
    if (this.succeededAt === Number.NEGATIVE_INFINITY) this.succeededAt = now
  }

  private remember(key: string, failed: boolean): void {
    const slot = this.slots.get(key) ?? this.slotFor(key)
    if (this.failed[slot] === failed) return
    this.failures += failed ? 1 : -1
    this.failed[slot] = failed
  }

  /** A slot for a new key: a free one, or that of the oldest key. */
  private slotFor(key: string): number {
    const isFull = this.keys.length === maxKeys
    const slot = isFull ? this.oldest : this.keys.length
    if (isFull) {
      this.slots.delete(this.keys[slot] as string)
      this.oldest = (slot + 1) % maxKeys
    }
    this.keys[slot] = key
    this.slots.set(key, slot)
    // The slot may keep the outcome of the key that it had. Otherwise it begins as a success.
    this.failed[slot] ??= false
    return slot
  }
}
