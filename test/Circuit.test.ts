import { assert, describe, it } from "@effect/vitest"
import { Circuit } from "effect-fuse/core"

const rules: Circuit.Rules = {
  probes: 2,
  successesToClose: 3,
  failuresToReopen: 1,
  probeTimeoutMillis: 100,
  rampMillis: 0
}
const cause: Circuit.Cause = { why: "Tripped", detail: "5 failures in a row (limit 5)", actor: undefined }
const failedProbe: Circuit.Cause = { why: "ProbeFailed", detail: "it timed out", actor: undefined }

const closed: Circuit.Closed = { _tag: "Closed", epoch: 7, since: 1000, openings: 0, openFor: 0, rampUntil: 0 }
const ramping: Circuit.Closed = { ...closed, rampUntil: 3000 }
const outage: Circuit.Outage = { since: 400, at: 1_700_000_000_000, openings: 2 }
const open: Circuit.Open = { _tag: "Open", epoch: 7, since: 1000, until: 1500, openings: 2, outage, cause }
const halfOpen = (...leases: ReadonlyArray<Circuit.Lease>): Circuit.HalfOpen => ({
  _tag: "HalfOpen",
  epoch: 7,
  since: 1000,
  openings: 2,
  openFor: 500,
  outage,
  cause,
  successes: 0,
  failures: 0,
  ignored: 0,
  leases,
  nextLease: 10
})
const forced = <Tag extends "Isolated" | "Disabled">(
  tag: Tag,
  until: number,
  under: Circuit.Closed | Circuit.Open = closed
): Circuit.Forced<Tag> => ({
  _tag: tag,
  epoch: 9,
  since: 1000,
  until,
  reason: "maintenance",
  actor: "ann",
  others: [],
  under
})

const override = { until: 5000, reason: "maintenance", actor: "ann" }

const a: Circuit.Lease = { id: 4, until: 1200 }
const b: Circuit.Lease = { id: 8, until: 1300 }

describe("a call that arrives", () => {
  const table: ReadonlyArray<readonly [string, Circuit.Circuit, number, Circuit.Admission]> = [
    ["at a Closed circuit is normal", closed, 1000, "Normal"],
    ["at a new circuit is normal", Circuit.initial, 0, "Normal"],
    ["as a ramp begins is subject to it", ramping, 1000, "Ramp"],
    ["just before a ramp ends is subject to it", ramping, 2999.999, "Ramp"],
    ["as a ramp ends is normal", ramping, 3000, "Normal"],
    ["at an Open circuit is rejected", open, 1000, "Reject"],
    ["just before the cooldown ends is rejected", open, 1499.999, "Reject"],
    ["at exactly openedAt + cooldown is a probe", open, 1500, "Probe"],
    ["long after the cooldown is a probe", open, 1e9, "Probe"],
    ["at a cooldown of 0 is a probe at once", { ...open, until: 1000 }, 1000, "Probe"],
    ["at an Open circuit without end is rejected", { ...open, until: Infinity }, 1e15, "Reject"],
    ["when no probe runs is one", halfOpen(), 1000, "Probe"],
    ["when a place is left is a probe", halfOpen(a), 1000, "Probe"],
    ["when every place is taken is rejected", halfOpen(a, b), 1199.999, "Reject"],
    ["as a lease lapses takes its place", halfOpen(a, b), 1200, "Probe"],
    ["at an Isolated circuit is rejected", forced("Isolated", 1500), 1499.999, "Reject"],
    ["as an isolation ends finds it expired", forced("Isolated", 1500), 1500, "Expired"],
    ["at an isolation without end is rejected", forced("Isolated", Infinity), 1e15, "Reject"],
    ["at a Disabled circuit passes", forced("Disabled", 1500), 1499.999, "Pass"],
    ["at a Disabled circuit passes, though it is Open beneath", forced("Disabled", Infinity, open), 1000, "Pass"],
    ["as a disabling ends finds it expired", forced("Disabled", 1500), 1500, "Expired"]
  ]
  it.each(table)("%s", (_, circuit, now, expected) => {
    assert.strictEqual(Circuit.admission(circuit, now, rules), expected)
  })

  it.each([1, 2, 5])("finds as many probe slots as the rules allow: %d", (probes) => {
    const own = { ...rules, probes }
    let circuit: Circuit.Open | Circuit.HalfOpen = open
    for (let taken = 0; taken < probes; taken++) {
      assert.strictEqual(Circuit.admission(circuit, 1500, own), "Probe")
      assert.strictEqual(Circuit.retryAfter(circuit, 1500, own), 0)
      circuit = Circuit.probe(circuit, 1500, own)
    }
    assert.strictEqual(Circuit.admission(circuit, 1500, own), "Reject")
    assert.strictEqual(Circuit.retryAfter(circuit, 1500, own), 100)
  })
})

describe("a rejected call has a retryAfter", () => {
  const table: ReadonlyArray<readonly [string, Circuit.Circuit, number, number]> = [
    ["at once by a Closed circuit", closed, 1000, 0],
    ["soon while it ramps, as a call may pass at any time", ramping, 1000, 1000],
    ["at once after the ramp", ramping, 5000, 0],
    ["when the cooldown is over", open, 1100, 400],
    ["at once at the end of the cooldown", open, 1500, 0],
    ["at once after the cooldown", open, 9000, 0],
    ["never by an Open circuit without end", { ...open, until: Infinity }, 1e15, Infinity],
    ["when the isolation is over", forced("Isolated", 1500), 1100, 400],
    ["at once after the isolation", forced("Isolated", 1500), 9000, 0],
    ["never by an isolation without end", forced("Isolated", Infinity), 1e15, Infinity],
    ["when the opening beneath an isolation is over, if that is later", forced("Isolated", 1200, open), 1100, 400],
    ["when the isolation is over, if that is later", forced("Isolated", 1600, open), 1100, 500],
    ["when the opening is over that an isolation left behind", forced("Isolated", 1200, open), 1300, 200],
    ["at once after the isolation and the opening beneath", forced("Isolated", 1200, open), 9000, 0],
    [
      "never by an isolation over an opening without end",
      forced("Isolated", 1200, { ...open, until: Infinity }),
      1100,
      Infinity
    ],
    ["at once by a Disabled circuit", forced("Disabled", Infinity), 1000, 0],
    ["at once by a Disabled circuit, though it is Open beneath", forced("Disabled", 1200, open), 1100, 0],
    ["when the first lease lapses", halfOpen(a, b), 1150, 50],
    ["when the first lease that still holds lapses", halfOpen(a, b, { id: 9, until: 1400 }), 1250, 50],
    ["at once when a place is left", halfOpen(a), 1150, 0],
    ["at once when a lease that lapsed leaves a place", halfOpen(a, b), 1250, 0],
    [
      "within a second however long the leases are",
      halfOpen({ id: 0, until: 90_000 }, { id: 1, until: 50_000 }),
      0,
      1000
    ],
    ["at once when no lease holds", halfOpen(a, b), 1300, 0],
    ["at once when no probe runs", halfOpen(), 1000, 0]
  ]
  it.each(table)("%s", (_, circuit, now, expected) => {
    assert.strictEqual(Circuit.retryAfter(circuit, now, rules), expected)
  })
})

describe("a ramp", () => {
  it.each([
    [1000, 0.1],
    [1500, 0.325],
    [2000, 0.55],
    [3000, 1],
    [9000, 1]
  ])("lets at %d a share of %d through", (now, share) => {
    assert.closeTo(Circuit.rampShare(ramping, now), share, 1e-12)
  })

  it("of 0 admits every call", () => {
    assert.strictEqual(Circuit.rampShare(closed, 1000), 1)
    assert.strictEqual(Circuit.rampShare(Circuit.initial, 0), 1)
  })

  it("begins with a close where the rules have one, and only there", () => {
    assert.strictEqual(Circuit.close(open, 1500, { ...rules, rampMillis: 200 }).rampUntil, 1700)
    assert.strictEqual(Circuit.close(open, 1500, rules).rampUntil, 0)
  })
})

describe("taking the place of a probe", () => {
  it("makes an Open circuit HalfOpen, in a new epoch, with what it remembers", () => {
    assert.deepStrictEqual(Circuit.probe(open, 1500, rules), {
      _tag: "HalfOpen",
      epoch: 8,
      since: 1500,
      openings: 2,
      openFor: 500,
      outage,
      cause,
      successes: 0,
      failures: 0,
      ignored: 0,
      leases: [{ id: 0, until: 1600 }],
      nextLease: 1
    })
  })

  it("takes only the time in which calls were rejected for the length of the opening, however late it comes", () => {
    assert.strictEqual(Circuit.probe(open, 9000, rules).openFor, 500)
    assert.strictEqual(Circuit.probe({ ...open, until: 1000 }, 9000, rules).openFor, 0)
  })

  it("adds a lease of its own to a HalfOpen circuit and changes nothing else", () => {
    const before = { ...halfOpen(a), successes: 1, ignored: 3 }
    assert.deepStrictEqual(Circuit.probe(before, 1150, rules), {
      ...before,
      leases: [a, { id: 10, until: 1250 }],
      nextLease: 11
    })
  })

  it("clears the leases that lapsed away, to the millisecond", () => {
    assert.deepStrictEqual(Circuit.probe(halfOpen(a, b), 1200, rules).leases, [b, { id: 10, until: 1300 }])
    assert.deepStrictEqual(Circuit.probe(halfOpen(a), 1199, rules).leases, [a, { id: 10, until: 1299 }])
  })
})

describe("a probe that ends", () => {
  const success: Circuit.Verdict = { _tag: "Success" }
  const ignored: Circuit.Verdict = { _tag: "Ignored" }
  const failure = { _tag: "Failure", openFor: 800, cause: failedProbe } as const
  const before = { ...halfOpen(a, b), successes: 1, ignored: 2 }

  it("with success gives its place back, is counted, and ends the row of ignored ones", () => {
    const after = Circuit.settleProbe(before, a.id, success, 1100, rules)
    assert.deepStrictEqual(after, { ...before, leases: [b], successes: 2, ignored: 0 })
  })

  it("ignored gives its place back, and counts for nothing but the row of ignored ones", () => {
    const after = Circuit.settleProbe(before, b.id, ignored, 1100, rules)
    assert.deepStrictEqual(after, { ...before, leases: [a], ignored: 3 })
  })

  it("with failure opens at once for the time it brings, as one more opening, whatever succeeded before", () => {
    assert.deepStrictEqual(Circuit.settleProbe({ ...before, successes: 2 }, a.id, failure, 1100, rules), {
      _tag: "Open",
      epoch: 8,
      since: 1100,
      until: 1900,
      openings: 3,
      outage: { ...outage, openings: 3 },
      cause: failedProbe
    })
  })

  it("with failure, but fewer than failuresToReopen, gives its place back and is counted", () => {
    const own = { ...rules, failuresToReopen: 3 }
    const one = Circuit.settleProbe(before, a.id, failure, 1100, own)
    assert.deepStrictEqual(one, { ...before, leases: [b], failures: 1, ignored: 0 })
    assert.deepStrictEqual(
      Circuit.settleProbe({ ...before, failures: 2 }, a.id, failure, 1100, own),
      Circuit.settleProbe(before, a.id, failure, 1100, rules)
    )
  })

  it("decides by whichever count is complete first, and forgets neither", () => {
    const own = { ...rules, successesToClose: 3, failuresToReopen: 2 }
    const outcomes: ReadonlyArray<readonly [probes: string, Circuit.State]> = [
      ["SFS", "HalfOpen"],
      ["SFSS", "Closed"],
      ["SFSF", "Open"],
      ["FSSF", "Open"],
      ["IFISIF", "Open"]
    ]
    for (const [probes, state] of outcomes) {
      let circuit: Circuit.Circuit = open
      for (const one of probes) {
        if (circuit._tag !== "Open" && circuit._tag !== "HalfOpen") return assert.fail(`${probes}: ${circuit._tag}`)
        const taken: Circuit.HalfOpen = Circuit.probe(circuit, 1500, own)
        const verdict = one === "S" ? success : one === "F" ? failure : ignored
        circuit = Circuit.settleProbe(taken, taken.nextLease - 1, verdict, 1500, own)
      }
      assert.strictEqual(circuit._tag, state, probes)
    }
  })

  it.each([1, 2, 3, 10])("closes the circuit as the last of %d successes, and not before", (successesToClose) => {
    const own = { ...rules, probes: 1, successesToClose }
    let circuit: Circuit.Closed | Circuit.Open | Circuit.HalfOpen = open
    for (let i = 0; i < successesToClose; i++) {
      if (circuit._tag === "Closed") assert.fail(`closed after ${i}`)
      const taken: Circuit.HalfOpen = Circuit.probe(circuit, 1500 + i, own)
      circuit = Circuit.settleProbe(taken, taken.nextLease - 1, success, 1500 + i, own)
    }
    const epoch = open.epoch + 2
    const since = 1500 + successesToClose - 1
    assert.deepStrictEqual(circuit, { _tag: "Closed", epoch, since, openings: 2, openFor: 500, rampUntil: 0 })
  })

  it("closes the circuit while other probes still run", () => {
    const after = Circuit.settleProbe({ ...before, successes: 2 }, b.id, success, 1100, { ...rules, rampMillis: 50 })
    assert.deepStrictEqual(after, {
      _tag: "Closed",
      epoch: 8,
      since: 1100,
      openings: 2,
      openFor: 500,
      rampUntil: 1150
    })
  })

  const verdicts = [success, ignored, failure]
  it.each(verdicts)("after its lease lapsed and was given to another changes nothing: %o", (verdict) => {
    const given = Circuit.probe(before, 1200, rules)
    assert.strictEqual(Circuit.settleProbe(given, a.id, verdict, 1200, rules), given)
    assert.strictEqual(Circuit.settleProbe(given, a.id, verdict, 9999, rules), given)
  })

  const times = [1199.999, 1200, 1300, 9999]
  it.each(times)("counts at %d, before its lease lapses and after, if no probe was admitted since", (now) => {
    const late = (verdict: Circuit.Verdict) => Circuit.settleProbe(before, a.id, verdict, now, rules)
    assert.deepStrictEqual(late(success), { ...before, leases: [b], successes: 2, ignored: 0 })
    assert.deepStrictEqual(late(ignored), { ...before, leases: [b], ignored: 3 })
    assert.deepStrictEqual(late(failure), Circuit.open(before, now, { ...failure, at: 1 }))
  })

  it("by its timeout opens the circuit again", () => {
    const timedOut = { _tag: "Failure", openFor: 800, cause: { ...failedProbe, why: "ProbeTimedOut" } } as const
    const after = Circuit.settleProbe(Circuit.probe(open, 1500, rules), 0, timedOut, 1600, rules)
    const { cause } = timedOut
    const reopened = { ...outage, openings: 3 }
    assert.deepStrictEqual(after, {
      _tag: "Open",
      epoch: 9,
      since: 1600,
      until: 2400,
      openings: 3,
      outage: reopened,
      cause
    })
  })

  it.each(verdicts)("under an unknown lease changes nothing: %o", (verdict) => {
    for (const id of [0, 5, 10, -1]) assert.strictEqual(Circuit.settleProbe(before, id, verdict, 1100, rules), before)
  })

  it.each(verdicts)("a second time changes nothing: %o", (verdict) => {
    const once = Circuit.settleProbe(before, a.id, ignored, 1100, rules)
    if (once._tag !== "HalfOpen") assert.fail(once._tag)
    assert.strictEqual(Circuit.settleProbe(once, a.id, verdict, 1100, rules), once)
  })

  it("ignored ten times in a row still decides nothing", () => {
    let circuit = halfOpen()
    for (let i = 1; i <= 10; i++) {
      const taken = Circuit.probe(circuit, 1100, rules)
      const after = Circuit.settleProbe(taken, taken.nextLease - 1, ignored, 1100, rules)
      if (after._tag !== "HalfOpen") assert.fail(after._tag)
      circuit = after
      assert.strictEqual(circuit.ignored, i)
    }
    assert.strictEqual(Circuit.admission(circuit, 1100, rules), "Probe")
  })

  it("never gets a lease that another one had", () => {
    const first = Circuit.probe(open, 1500, rules)
    const gone = Circuit.settleProbe(first, 0, ignored, 1500, rules)
    if (gone._tag !== "HalfOpen") assert.fail(gone._tag)
    const second = Circuit.probe(gone, 1500, rules)
    assert.deepStrictEqual(second.leases, [{ id: 1, until: 1600 }])
    assert.strictEqual(Circuit.settleProbe(second, 0, success, 1500, rules), second)
  })
})

describe("openings", () => {
  const opening = { openFor: 500, cause, at: 9 }
  const closedAt = (now: number) => Circuit.close(open, now, rules)

  it("are counted from one", () => {
    assert.deepStrictEqual(Circuit.open(closed, 2000, opening), {
      _tag: "Open",
      epoch: 8,
      since: 2000,
      until: 2500,
      openings: 1,
      outage: { since: 2000, at: 9, openings: 1 },
      cause
    })
  })

  it("survive a close", () => {
    const again = closedAt(1500)
    assert.strictEqual(Circuit.openings(again, 1500), 2)
    assert.strictEqual(Circuit.openings(again, 1999.999), 2)
    assert.strictEqual(Circuit.open(again, 1999, opening).openings, 3)
  })

  it("are forgotten once it stayed closed as long as it was last open, to the millisecond", () => {
    const again = closedAt(1500)
    assert.strictEqual(Circuit.openings(again, 2000), 0)
    assert.strictEqual(Circuit.open(again, 2000, opening).openings, 1)
  })

  it.each([
    ["closed early", open, 1200, 200],
    ["closed at its end", open, 1500, 500],
    ["closed long after its end, with no probe in between", open, 9000, 500],
    ["closed early though it had no end", { ...open, until: Infinity }, 1300, 300],
    ["opened again, and then closed early", Circuit.open(open, 1400, opening), 1600, 600],
    ["closed while probes ran", halfOpen(a), 9000, 500]
  ] as const)("are forgotten after as long as calls were really rejected: %s", (_, circuit, now, rejected) => {
    const again = Circuit.close(circuit, now, rules)
    assert.strictEqual(again.openFor, rejected)
    assert.strictEqual(Circuit.openings(again, now + rejected - 0.001), 2)
    assert.strictEqual(Circuit.openings(again, now + rejected), 0)
  })

  const numbers: ReadonlyArray<readonly [string, Circuit.Circuit, number, number]> = [
    ["the first of a new circuit", Circuit.initial, 0, 1],
    ["one more, while the last is remembered", closedAt(1500), 1999, 3],
    ["the first again, once that is forgotten", closedAt(1500), 2000, 1],
    ["the same, of an Open circuit", open, 1e9, 2],
    ["one more, of a HalfOpen one", halfOpen(a), 1e9, 3],
    ["the same, of an Open one beneath an override", forced("Disabled", Infinity, open), 1e9, 2],
    ["the first, of a new one beneath an override", forced("Isolated", Infinity), 1e9, 1],
    [
      "one more, while the last is remembered beneath an override",
      Circuit.force(closedAt(1500), "Isolated", 1600, override),
      1999,
      3
    ],
    [
      "the first again, once that is forgotten beneath an override",
      Circuit.force(closedAt(1500), "Isolated", 1600, override),
      2000,
      1
    ]
  ]
  it.each(numbers)("would next be %s", (_, circuit, now, expected) => {
    assert.strictEqual(Circuit.nextOpening(circuit, now), expected)
    const opened = Circuit.moveUnder(circuit, (under) => Circuit.open(under, now, opening))
    assert.strictEqual(Circuit.openings(opened, now), expected)
  })

  it("are not forgotten by a circuit that is Open or HalfOpen for long", () => {
    assert.strictEqual(Circuit.openings(open, 1e9), 2)
    assert.strictEqual(Circuit.openings(halfOpen(), 1e9), 2)
  })

  it("of a new circuit are 0", () => {
    assert.strictEqual(Circuit.openings(Circuit.initial, 0), 0)
  })

  it("beneath an override are those that would hold without it", () => {
    for (const tag of ["Isolated", "Disabled"] as const) {
      const over = Circuit.force(closedAt(1500), tag, 1600, override)
      assert.strictEqual(Circuit.openings(forced(tag, Infinity, open), 1e9), 2)
      assert.strictEqual(Circuit.openings(over, 1999.999), 2)
      assert.strictEqual(Circuit.openings(over, 2000), 0)
    }
  })

  it("do not grow when an Open circuit is opened: its end moves", () => {
    const other = { openFor: 100, at: 9, cause: { ...cause, why: "OpenedByHand" as const, actor: "ann" } }
    const until = 1400
    assert.deepStrictEqual(Circuit.open(open, 1300, other), {
      ...open,
      epoch: 8,
      until,
      cause: other.cause
    })
  })

  it("grow when an operator opens a HalfOpen circuit", () => {
    assert.strictEqual(Circuit.open(halfOpen(a), 1100, opening).openings, 3)
  })
})

describe("operator actions", () => {
  it.each(["Isolated", "Disabled"] as const)("that set %s keep the state beneath the override", (tag) => {
    for (const under of [closed, ramping, open]) {
      const expected = { _tag: tag, epoch: 8, since: 2000, ...override, others: [], under }
      assert.deepStrictEqual(Circuit.force(under, tag, 2000, override), expected)
    }
  })

  it.each(["Isolated", "Disabled"] as const)(
    "that set %s while probes run leave an opening beneath that is over and as long as before",
    (tag) => {
      const after = Circuit.force(halfOpen(a, b), tag, 1100, override)
      assert.deepStrictEqual(after.under, { ...open, since: 600, until: 1100 })
      const released = Circuit.release(after)
      assert.strictEqual(Circuit.admission(released, 1100, rules), "Probe")
      assert.strictEqual(Circuit.openings(released, 1100), 2)
      assert.isAbove(released.epoch, after.epoch)
    }
  )

  const isolation: Circuit.Override = { _tag: "Isolated", since: 1100, ...override }

  it("that set two overrides keep both, the rejecting one in front, and the state beneath", () => {
    const first = Circuit.force(open, "Isolated", 1100, override)
    const second = Circuit.force(first, "Disabled", 1200, { until: Infinity, reason: "test", actor: undefined })
    const disabled: Circuit.Override = {
      _tag: "Disabled",
      since: 1200,
      until: Infinity,
      reason: "test",
      actor: undefined
    }
    assert.deepStrictEqual(second, { ...first, epoch: 9, others: [disabled] })
    assert.deepStrictEqual(Circuit.overrides(second), [isolation, disabled])
    // At the end of the isolation, calls pass until a release.
    assert.strictEqual(Circuit.retryAfter(second, 1300, rules), 3700)
    const after = Circuit.expire(second, 5000)
    assert.deepStrictEqual(after, { ...disabled, epoch: 10, others: [], under: open })
    assert.deepStrictEqual(Circuit.release(second), { ...open, epoch: 10 })
  })

  it("a later, shorter override by another operator leaves the earlier, longer one in front", () => {
    const first = Circuit.force(closed, "Isolated", 1100, override)
    const both = Circuit.force(first, "Isolated", 1200, { until: 1300, reason: "drill", actor: "bob" })
    const drill: Circuit.Override = { _tag: "Isolated", since: 1200, until: 1300, reason: "drill", actor: "bob" }
    assert.deepStrictEqual(both, { ...first, epoch: 9, others: [drill] })
    assert.strictEqual(Circuit.expire(both, 4999.999), both)
    assert.strictEqual(Circuit.expire(both, 5000)._tag, "Closed")
  })

  it("a second override of one operator extends the first: the earlier start, the later end, the new reason", () => {
    for (const until of [1300, 9000]) {
      const again = Circuit.force(Circuit.force(closed, "Isolated", 1100, override), "Isolated", 1200, {
        until,
        reason: "still",
        actor: "ann"
      })
      const merged = { ...isolation, until: Math.max(until, 5000), reason: "still" }
      assert.deepStrictEqual(Circuit.overrides(again), [merged])
    }
  })

  it("an override that has ended is gone when another one is set", () => {
    const ended = Circuit.force(closed, "Disabled", 1100, { ...override, until: 1200 })
    const next = Circuit.force(ended, "Isolated", 1200, { ...override, actor: "bob" })
    assert.deepStrictEqual(Circuit.overrides(next), [{ _tag: "Isolated", since: 1200, ...override, actor: "bob" }])
  })

  it("of many overrides those are kept that end last", () => {
    let circuit: Circuit.Circuit = Circuit.force(closed, "Disabled", 1000, { ...override, until: 1001, actor: "first" })
    for (let i = 0; i < 100; i++) {
      circuit = Circuit.force(circuit, "Isolated", 1000, { ...override, until: 2000 + i, actor: `operator ${i}` })
    }
    const kept = Circuit.overrides(circuit)
    assert.strictEqual(kept.length, 16)
    assert.deepStrictEqual(
      kept.map(({ actor }) => actor),
      [...Array.from({ length: 15 }, (_, i) => `operator ${99 - i}`), "first"]
    )
  })

  it("that release a circuit restore the state beneath, in a new epoch", () => {
    assert.deepStrictEqual(Circuit.release(forced("Isolated", 5000, open)), { ...open, epoch: 10 })
    assert.deepStrictEqual(Circuit.release(forced("Disabled", 5000, ramping)), { ...ramping, epoch: 10 })
  })

  it("that release a circuit without an override change nothing", () => {
    for (const circuit of [closed, ramping, open, halfOpen(a)]) assert.strictEqual(Circuit.release(circuit), circuit)
  })

  it("that open or close a circuit beneath an override do not change the override", () => {
    const isolated = forced("Isolated", 5000, closed)
    const opened = Circuit.moveUnder(isolated, (under) => Circuit.open(under, 2000, { openFor: 500, cause, at: 9 }))
    assert.deepStrictEqual(opened, {
      ...isolated,
      epoch: 10,
      under: Circuit.open(closed, 2000, { openFor: 500, cause, at: 9 })
    })
    const shut = Circuit.moveUnder(opened, (under) => Circuit.close(under, 2100, rules))
    assert.deepStrictEqual({ ...shut, under: undefined }, { ...isolated, epoch: 11, under: undefined })
    assert.strictEqual(Circuit.isForced(shut) ? shut.under._tag : shut._tag, "Closed")
  })

  it("that close a circuit that is Closed beneath an override change nothing", () => {
    const isolated = forced("Isolated", 5000, closed)
    assert.strictEqual(
      Circuit.moveUnder(isolated, (under) => Circuit.close(under, 2000, rules)),
      isolated
    )
  })

  it("that reset a circuit restore its initial state, except for the epoch", () => {
    const all = [closed, ramping, open, halfOpen(a), forced("Isolated", Infinity, open), forced("Disabled", 5000)]
    for (const circuit of all) {
      assert.deepStrictEqual(Circuit.reset(circuit, 2000), {
        ...Circuit.initial,
        epoch: circuit.epoch + 1,
        since: 2000
      })
    }
  })
})
