import { assert, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Circuit } from "effect-fuse/core"

const settleKinds = ["Success", "Ignored", "ProbeFailed", "ProbeTimedOut"] as const
const hands = ["open", "close", "reset", "isolate", "disable", "release", "healthy"] as const

const step = Arbitrary.all({
  // Small steps on a small scale, so that deadlines are often hit exactly.
  advance: Arbitrary.schema(Schema.Literals([0, 0, 0, 1, 5, 10, 20, 50, 100, 1000])),
  // Calls that come and probes that end are what happens most.
  act: Arbitrary.schema(
    Schema.Literals(["call", "call", "call", "trip", "trip", "settle", "settle", "settle", ...hands])
  ),
  settle: Arbitrary.schema(Schema.Literals(settleKinds)),
  /** Which of the leases ever given, counted from the newest; old and settled ones come up again. */
  which: Arbitrary.schema(Schema.Literals([0, 0, 0, 1, 2, 5])),
  /** How long an opening or an override lasts; an override may be without expiry. */
  millis: Arbitrary.schema(Schema.Literals([0, 1, 10, 50, 200, "forever"]))
})
const steps = Arbitrary.array(step, { maxLength: 80 })
const rules = Arbitrary.all({
  probes: Arbitrary.schema(Schema.Literals([1, 2, 3])),
  successesToClose: Arbitrary.schema(Schema.Literals([1, 2, 4])),
  failuresToReopen: Arbitrary.schema(Schema.Literals([1, 2, 3])),
  probeTimeoutMillis: Arbitrary.schema(Schema.Literals([10, 50])),
  rampMillis: Arbitrary.schema(Schema.Literals([0, 30]))
})
const runs = { arbitrary: { runs: 600, size: 80, seed: "circuit" } }

interface Given {
  readonly epoch: number
  readonly id: number
  readonly until: number
  settled: boolean
  /** It had lapsed when another probe was admitted. */
  givenAway: boolean
}

interface Step {
  readonly from: Circuit.Circuit
  readonly to: Circuit.Circuit
  readonly why: Circuit.Why | undefined
  readonly now: number
  /** The leases of the epoch that holds, neither settled nor lapsed. */
  readonly held: ReadonlyArray<Given>
}

type Plan = ReadonlyArray<{
  readonly advance: number
  readonly act: "call" | "trip" | "settle" | (typeof hands)[number]
  readonly settle: (typeof settleKinds)[number]
  readonly which: number
  readonly millis: number | "forever"
}>

const fresh = Circuit.initial as Circuit.Circuit

/** Drives one circuit as a breaker does: by the admission it is told, and with its own list of the leases it holds. */
const play = (rules: Circuit.Rules, plan: Plan, on: (step: Step) => void = () => {}) => {
  let circuit = fresh
  let now = 0
  const given: Array<Given> = []
  const cause = (why: Circuit.Why): Circuit.Cause => ({ why, detail: why, actor: undefined })

  for (const { act, advance, millis, settle, which } of plan) {
    now += advance
    const from = circuit
    const move = (why: Circuit.Why | undefined, to: Circuit.Circuit) => {
      circuit = to
      const held = given.filter((one) => one.epoch === to.epoch && !one.settled && now < one.until)
      on({ from, to, why, now, held })
    }
    const openFor = millis === "forever" ? 200 : millis
    switch (act) {
      case "call": {
        const admission = Circuit.admission(from, now, rules)
        if (admission === "Expired") move("Expired", Circuit.expire(from, now))
        else if (admission === "Probe" && (from._tag === "Open" || from._tag === "HalfOpen")) {
          const to = Circuit.probe(from, now, rules)
          for (const one of given) if (now >= one.until) one.givenAway = true
          const until = now + rules.probeTimeoutMillis
          given.push({ epoch: to.epoch, id: to.nextLease - 1, until, settled: false, givenAway: false })
          move("CooldownOver", to)
        } else move(undefined, from)
        break
      }
      case "trip":
        move(
          "Tripped",
          from._tag === "Closed" ? Circuit.open(from, now, { openFor, cause: cause("Tripped"), at: now }) : from
        )
        break
      case "settle": {
        const lease = given.at(-1 - which)
        // A breaker asks nothing of a circuit that is in another epoch.
        if (lease === undefined || from._tag !== "HalfOpen" || lease.epoch !== from.epoch) {
          move(undefined, from)
          break
        }
        const stale = lease.settled || lease.givenAway
        lease.settled = true
        const failed = settle === "ProbeFailed" || settle === "ProbeTimedOut"
        const verdict: Circuit.Verdict = failed ? { _tag: "Failure", openFor, cause: cause(settle) } : { _tag: settle }
        const to = Circuit.settleProbe(from, lease.id, verdict, now, rules)
        if (stale) assert.strictEqual(to, from, "a stale lease changes nothing")
        else assert.notStrictEqual(to, from)
        move(failed ? settle : "Recovered", to)
        break
      }
      case "healthy":
        move(
          "HealthCheckPassed",
          from._tag === "Open" || from._tag === "HalfOpen" ? Circuit.close(from, now, rules) : from
        )
        break
      case "open": {
        const options = { openFor, cause: cause("OpenedByHand"), at: now }
        move(
          "OpenedByHand",
          Circuit.moveUnder(from, (under) => Circuit.open(under, now, options))
        )
        break
      }
      case "close":
        move(
          "ClosedByHand",
          Circuit.moveUnder(from, (under) => Circuit.close(under, now, rules))
        )
        break
      case "reset":
        move("Reset", Circuit.reset(from, now))
        break
      case "isolate":
      case "disable": {
        const tag = act === "isolate" ? "Isolated" : "Disabled"
        move(
          tag,
          Circuit.force(from, tag, now, {
            until: millis === "forever" ? Infinity : now + millis,
            reason: act,
            actor: undefined
          })
        )
        break
      }
      case "release":
        move("Released", Circuit.release(from))
        break
    }
  }
  return { circuit, now }
}

it.prop(
  "epochs only grow, by one, at every move, and a circuit that stays in its epoch stays in its state",
  { rules, steps },
  ({ rules, steps }) => {
    play(rules, steps, ({ from, to, why }) => {
      assert.include([from.epoch, from.epoch + 1], to.epoch)
      if (to.epoch === from.epoch) {
        assert.strictEqual(to._tag, from._tag)
        // Within an epoch only the bookkeeping of probes may change.
        if (to._tag !== "HalfOpen") assert.strictEqual(to, from)
      } else {
        assert.isTrue(why !== undefined && Circuit.isLegal(from._tag, to._tag, why), `${from._tag} ${to._tag} ${why}`)
      }
    })
  },
  runs
)

it.prop(
  "the leases that hold are those given, unsettled and unlapsed of this epoch, and never more than there are places",
  { rules, steps },
  ({ rules, steps }) => {
    play(rules, steps, ({ held, now, to }) => {
      assert.isAtMost(held.length, rules.probes)
      const leases = to._tag === "HalfOpen" ? to.leases.filter((lease) => now < lease.until) : []
      assert.deepStrictEqual(
        leases,
        held.map(({ id, until }) => ({ id, until }))
      )
      if (to._tag === "HalfOpen") {
        assert.isBelow(to.successes, rules.successesToClose)
        assert.isBelow(to.failures, rules.failuresToReopen)
        assert.strictEqual(Circuit.admission(to, now, rules), held.length < rules.probes ? "Probe" : "Reject")
      }
    })
  },
  runs
)

const without = (circuit: Circuit.Circuit) => (Circuit.isForced(circuit) ? circuit.under : circuit)

it.prop(
  "every opening is counted once, whatever opens the circuit and whatever overrides are set",
  { rules, steps },
  ({ rules, steps }) => {
    play(rules, steps, ({ from, now, to }) => {
      const before = without(from)
      const after = without(to)
      const opened =
        after._tag === "Open" && (before._tag === "Closed" || (before._tag === "HalfOpen" && !Circuit.isForced(to)))
      if (opened) assert.strictEqual(after.openings, Circuit.openings(from, now) + 1)
      else if (to.epoch === from.epoch || after._tag !== "Closed") {
        assert.strictEqual(Circuit.openings(to, now), Circuit.openings(from, now))
      }
    })
  },
  runs
)

it.prop(
  "openings are forgotten once it was Closed, beneath whatever override, for as long as calls were rejected before",
  { rules, steps },
  ({ rules, steps }) => {
    let [count, openedAt, rejectedFor, closedAt] = [0, 0, 0, 0]
    play(rules, steps, ({ from, now, to, why }) => {
      const before = without(from)
      const after = without(to)
      if (before._tag === "Closed" && now - closedAt >= rejectedFor) count = 0
      if (before._tag === "Open" && after._tag !== "Open") rejectedFor = Math.min(now, before.until) - openedAt
      if (after._tag === "Open" && before._tag !== "Open") {
        // What people force while probes run is no opening: it is the last one that lies beneath.
        if (Circuit.isForced(to) && before._tag === "HalfOpen") openedAt = now - rejectedFor
        else [count, openedAt] = [count + 1, now]
      }
      if (after._tag === "Closed" && before._tag !== "Closed") closedAt = now
      if (why === "Reset") count = 0
      const forgotten = after._tag === "Closed" && now - closedAt >= rejectedFor
      assert.strictEqual(Circuit.openings(to, now), forgotten ? 0 : count)
      assert.strictEqual(Circuit.nextOpening(to, now), after._tag === "Open" ? count : forgotten ? 1 : count + 1)
    })
  },
  runs
)

it.prop(
  "retryAfter is exact: the same state no longer rejects a call then, and still rejects it just before",
  { rules, steps },
  ({ rules, steps }) => {
    play(rules, steps, ({ now, to }) => {
      // An override that has run out is lifted before anything is asked.
      const at = (time: number) => Circuit.admission(Circuit.expire(to, time), time, rules)
      const wait = Circuit.retryAfter(Circuit.expire(to, now), now, rules)
      // A ramp rejects some.
      const rejects = (time: number) => ["Reject", "Ramp"].includes(at(time))
      assert.strictEqual(wait > 0, rejects(now))
      if (wait === 0) return
      if (wait === Infinity) {
        assert.strictEqual(at(1e15), "Reject")
        return
      }
      assert.isFalse(rejects(now + wait))
      assert.isTrue(rejects(now + wait - 0.5))
    })
  },
  runs
)

it.prop(
  "no move but a close, a reset or a hand on it lets calls through before an opening is over",
  { rules, steps },
  ({ rules, steps }) => {
    const relaxing: ReadonlyArray<Circuit.Why | undefined> = [
      "HealthCheckPassed",
      "OpenedByHand",
      "ClosedByHand",
      "Reset"
    ]
    play(rules, steps, ({ from, now, to, why }) => {
      const before = without(from)
      const after = without(to)
      if (before._tag !== "Open" || now >= before.until || relaxing.includes(why)) return
      assert.deepStrictEqual({ ...after, epoch: 0 }, { ...before, epoch: 0 })
    })
  },
  runs
)

it.prop(
  "a healthy dependency ends Closed after any history: release, wait, and as many good probes as it takes",
  { rules, steps },
  ({ rules, steps }) => {
    const end = play(rules, steps)
    let circuit = Circuit.release(end.circuit)
    let { now } = end
    // The rest of an opening, and of the leases of probes that were never heard of again.
    if (circuit._tag === "Open") now = Math.max(now, circuit.until)
    if (circuit._tag === "HalfOpen") now += rules.probeTimeoutMillis
    let probes = 0
    while (circuit._tag !== "Closed") {
      assert.isBelow(probes++, rules.successesToClose)
      assert.strictEqual(Circuit.admission(circuit, now, rules), "Probe")
      if (Circuit.isForced(circuit)) return assert.fail(circuit._tag)
      const taken: Circuit.HalfOpen = Circuit.probe(circuit, now, rules)
      circuit = Circuit.settleProbe(taken, taken.nextLease - 1, { _tag: "Success" }, now, rules)
    }
    assert.strictEqual(Circuit.admission(circuit, now + rules.rampMillis, rules), "Normal")
  },
  runs
)

it.prop(
  "an outage lasts from its first opening until the circuit closes, also beneath overrides",
  { rules, steps },
  ({ rules, steps }) => {
    let expected: Circuit.Outage | undefined
    play(rules, steps, ({ from, now, to }) => {
      const before = without(from)
      const after = without(to)
      if (after._tag === "Closed") expected = undefined
      else if (before._tag === "Closed") expected = { since: now, at: now, openings: 1 }
      else if (expected !== undefined && before._tag === "HalfOpen" && to._tag === "Open") {
        expected = { ...expected, openings: expected.openings + 1 }
      }
      assert.deepStrictEqual(Circuit.outage(to), expected)
    })
  },
  runs
)

const override = Arbitrary.all({
  advance: Arbitrary.schema(Schema.Literals([0, 0, 1, 10, 50, 100])),
  tag: Arbitrary.schema(Schema.Literals(["Isolated", "Disabled"])),
  lasts: Arbitrary.schema(Schema.Literals([1, 10, 50, 200, 1e15])),
  actor: Arbitrary.schema(Schema.Literals(["ann", "bob", "eve"]))
})
const overrides = Arbitrary.array(override, { maxLength: 12 })

/** Moments at which something may change, and those right before. */
const moments = Array.from({ length: 80 }, (_, i) => i * 10).flatMap((at) => [at - 0.5, at, at + 1])

it.prop(
  "at any time a circuit is Isolated if any isolation lasts, or else Disabled if any disabling lasts, or else as if none had been",
  { overrides, opens: Arbitrary.schema(Schema.Boolean) },
  ({ opens, overrides }) => {
    const cause: Circuit.Cause = { why: "Tripped", detail: "", actor: undefined }
    const under = opens ? Circuit.open(Circuit.initial, 0, { openFor: 300, cause, at: 0 }) : Circuit.initial
    let circuit: Circuit.Circuit = under
    let now = 0
    const given: Array<{ readonly tag: string; readonly since: number; readonly until: number }> = []
    const expectedAt = (at: number) => {
      const lasting = given.filter(({ since, until }) => since <= at && at < until)
      return ["Isolated", "Disabled"].find((tag) => lasting.some((one) => one.tag === tag)) ?? under._tag
    }
    for (const { actor, advance, lasts, tag } of overrides) {
      now += advance
      const until = now + lasts
      circuit = Circuit.force(Circuit.expire(circuit, now), tag, now, { until, reason: `${tag} by ${actor}`, actor })
      given.push({ tag, since: now, until })
      for (const at of moments.filter((at) => at >= now)) {
        assert.strictEqual(Circuit.expire(circuit, at)._tag, expectedAt(at), `at ${at}`)
      }
      const standing = Circuit.overrides(circuit)
      // What each operator has set is there, with its end.
      for (const who of ["ann", "bob", "eve"]) {
        for (const kind of ["Isolated", "Disabled"] as const) {
          const own = standing.filter((one) => one._tag === kind && one.actor === who)
          assert.isAtMost(own.length, 1)
        }
      }
      const last = Math.max(...given.filter((one) => one.tag === circuit._tag).map((one) => one.until))
      assert.strictEqual(standing[0]?.until, last)
    }
    const released = Circuit.release(circuit)
    assert.deepStrictEqual({ ...released, epoch: 0 }, { ...under, epoch: 0 })
  },
  runs
)

it.prop(
  "the order in which overrides are set does not matter",
  { overrides },
  ({ overrides }) => {
    const set = (of: typeof overrides) =>
      of.reduce<Circuit.Circuit>(
        (circuit, { actor, lasts, tag }) => Circuit.force(circuit, tag, 100, { until: 100 + lasts, reason: "", actor }),
        Circuit.initial
      )
    const shown = (circuit: Circuit.Circuit) =>
      Circuit.overrides(circuit)
        .map(({ _tag, actor, until }) => `${_tag} ${until} ${actor}`)
        .sort()
    const [one, other] = [set(overrides), set(overrides.toReversed())]
    assert.deepStrictEqual(shown(one), shown(other))
    assert.deepStrictEqual([one._tag, "until" in one && one.until], [other._tag, "until" in other && other.until])
  },
  runs
)
