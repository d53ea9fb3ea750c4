import { assert, describe, it } from "@effect/vitest"
import { Circuit } from "effect-fuse/core"

const rules: Circuit.Rules = {
  probes: 1,
  successesToClose: 1,
  failuresToReopen: 1,
  probeTimeoutMillis: 100,
  rampMillis: 0
}
const now = 10_000

const because = (why: Circuit.Why): Circuit.Cause => ({ why, detail: why, actor: undefined })
const opening = (why: Circuit.Why) => ({ openFor: 500, cause: because(why), at: 1_700_000_000_000 })
const override = (until: number) => ({ until, reason: "maintenance", actor: undefined })

const closed = Circuit.reset(Circuit.initial, 1000)
const open = Circuit.open(closed, now - 100, opening("Tripped"))
const cooled = Circuit.open(closed, now - 500, opening("Tripped"))
const probing = Circuit.probe(cooled, now - 50, rules)
const lapsed = Circuit.probe(cooled, now - 100, rules)
const givenAway = Circuit.probe(lapsed, now, rules)

const forcedOver = (tag: "Isolated" | "Disabled", under: Circuit.Circuit, until: number) =>
  Circuit.force(under, tag, now - 10, override(until))

const states = {
  Closed: closed,
  Open: open,
  "Open, cooled down": cooled,
  "HalfOpen, probing": probing,
  "HalfOpen, lapsed": lapsed,
  "HalfOpen, lapsed and given to another": givenAway,
  Isolated: forcedOver("Isolated", closed, Infinity),
  "Isolated over Open": forcedOver("Isolated", open, Infinity),
  "Isolated over HalfOpen": forcedOver("Isolated", probing, Infinity),
  "Isolated, run out": forcedOver("Isolated", closed, now),
  "Isolated, run out, and Disabled for longer": Circuit.force(
    forcedOver("Disabled", closed, Infinity),
    "Isolated",
    now - 10,
    override(now)
  ),
  "Isolated over Open, run out": forcedOver("Isolated", open, now),
  Disabled: forcedOver("Disabled", closed, Infinity),
  "Disabled over Open": forcedOver("Disabled", open, Infinity),
  "Disabled, run out": forcedOver("Disabled", closed, now),
  "Disabled over Open, run out": forcedOver("Disabled", open, now)
} satisfies Record<string, Circuit.Circuit>

// Writing to a frozen object throws: no operation may change the state that it is given.
const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null) return
  Object.freeze(value)
  Object.values(value).forEach(freeze)
}
freeze(states)

interface Operation {
  readonly why: Circuit.Why
  /** The states in which a breaker does it at all. */
  readonly on: ReadonlyArray<Circuit.State>
  readonly run: (circuit: Circuit.Circuit) => Circuit.Circuit
}

const always: ReadonlyArray<Circuit.State> = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"]
const down: ReadonlyArray<Circuit.State> = ["Open", "HalfOpen"]

/** What the first probe of the circuit found. */
const settle = (circuit: Circuit.Circuit, verdict: Circuit.Verdict) =>
  circuit._tag === "HalfOpen" ? Circuit.settleProbe(circuit, 0, verdict, now, rules) : circuit

const failing = (why: Circuit.Why) => (circuit: Circuit.Circuit) =>
  settle(circuit, { _tag: "Failure", ...opening(why) })

const operations = {
  probe: {
    why: "CooldownOver",
    on: down,
    run: (c) =>
      (c._tag === "Open" || c._tag === "HalfOpen") && Circuit.admission(c, now, rules) === "Probe"
        ? Circuit.probe(c, now, rules)
        : c
  },
  trip: {
    why: "Tripped",
    on: ["Closed"],
    run: (c) => (c._tag === "Closed" ? Circuit.open(c, now, opening("Tripped")) : c)
  },
  probeOk: { why: "Recovered", on: ["HalfOpen"], run: (c) => settle(c, { _tag: "Success" }) },
  probeIgnored: { why: "Recovered", on: ["HalfOpen"], run: (c) => settle(c, { _tag: "Ignored" }) },
  probeFailed: { why: "ProbeFailed", on: ["HalfOpen"], run: failing("ProbeFailed") },
  probeLate: { why: "ProbeTimedOut", on: ["HalfOpen"], run: failing("ProbeTimedOut") },
  healthy: {
    why: "HealthCheckPassed",
    on: down,
    run: (c) => (c._tag === "Open" || c._tag === "HalfOpen" ? Circuit.close(c, now, rules) : c)
  },
  open: {
    why: "OpenedByHand",
    on: always,
    run: (c) => Circuit.moveUnder(c, (under) => Circuit.open(under, now, opening("OpenedByHand")))
  },
  close: {
    why: "ClosedByHand",
    on: always,
    run: (c) => Circuit.moveUnder(c, (under) => Circuit.close(under, now, rules))
  },
  reset: { why: "Reset", on: always, run: (c) => Circuit.reset(c, now) },
  isolate: { why: "Isolated", on: always, run: (c) => Circuit.force(c, "Isolated", now, override(Infinity)) },
  disable: { why: "Disabled", on: always, run: (c) => Circuit.force(c, "Disabled", now, override(Infinity)) },
  release: { why: "Released", on: always, run: Circuit.release },
  expire: { why: "Expired", on: always, run: (c) => Circuit.expire(c, now) }
} satisfies Record<string, Operation>

type Name = keyof typeof operations

/** The state that follows; `same` where nothing at all changes; `kept` where the circuit changes within its epoch. */
type After = Circuit.State | "same" | "kept"

type Row = Partial<Record<Name, After>>

/** What people may do in any state, unless a row says otherwise. */
const people = {
  open: "Open",
  close: "Closed",
  reset: "Closed",
  isolate: "Isolated",
  disable: "Disabled",
  release: "same",
  expire: "same"
} as const

const rows: Record<keyof typeof states, Row> = {
  Closed: { ...people, close: "same", trip: "Open" },
  Open: { ...people, probe: "same", healthy: "Closed" },
  "Open, cooled down": { ...people, probe: "HalfOpen", healthy: "Closed" },
  "HalfOpen, probing": {
    ...people,
    probe: "same",
    probeOk: "Closed",
    probeIgnored: "kept",
    probeFailed: "Open",
    probeLate: "Open",
    healthy: "Closed"
  },
  "HalfOpen, lapsed": {
    ...people,
    probe: "kept",
    probeOk: "Closed",
    probeIgnored: "kept",
    probeFailed: "Open",
    probeLate: "Open",
    healthy: "Closed"
  },
  "HalfOpen, lapsed and given to another": {
    ...people,
    probe: "same",
    probeOk: "same",
    probeIgnored: "same",
    probeFailed: "same",
    probeLate: "same",
    healthy: "Closed"
  },
  Isolated: { ...people, disable: "Isolated", open: "Isolated", close: "same", release: "Closed" },
  "Isolated over Open": { ...people, disable: "Isolated", open: "Isolated", close: "Isolated", release: "Open" },
  "Isolated over HalfOpen": { ...people, disable: "Isolated", open: "Isolated", close: "Isolated", release: "Open" },
  "Isolated, run out, and Disabled for longer": {
    ...people,
    open: "Isolated",
    close: "same",
    release: "Closed",
    expire: "Disabled"
  },
  "Isolated, run out": { ...people, open: "Isolated", close: "same", release: "Closed", expire: "Closed" },
  "Isolated over Open, run out": { ...people, open: "Isolated", close: "Isolated", release: "Open", expire: "Open" },
  Disabled: { ...people, open: "Disabled", close: "same", release: "Closed" },
  "Disabled over Open": { ...people, open: "Disabled", close: "Disabled", release: "Open" },
  "Disabled, run out": { ...people, open: "Disabled", close: "same", release: "Closed", expire: "Closed" },
  "Disabled over Open, run out": { ...people, open: "Disabled", close: "Disabled", release: "Open", expire: "Open" }
}

const names = Object.keys(operations) as Array<Name>
const applies = (name: Name, circuit: Circuit.Circuit) => (operations[name] as Operation).on.includes(circuit._tag)
const cells = (Object.keys(states) as Array<keyof typeof states>).flatMap((state) =>
  names
    .filter((operation) => applies(operation, states[state]))
    .map((operation) => [state, operation, rows[state][operation]] as const)
)

describe("every state and every operation", () => {
  it.each(cells)("%s, %s: %s", (state, operation, after) => {
    const from: Circuit.Circuit = states[state]
    const to = operations[operation].run(from)
    if (after === "same") return assert.strictEqual(to, from)
    assert.notStrictEqual(to, from)
    if (after === "kept") assert.deepStrictEqual([to._tag, to.epoch], [from._tag, from.epoch])
    else assert.deepStrictEqual([to._tag, to.epoch], [after, from.epoch + 1])
  })
})

describe("the table of moves", () => {
  const key = (from: Circuit.State, to: Circuit.State, why: Circuit.Why) => `${from} -> ${to} (${why})`

  const made = new Set<string>()
  for (const from of Object.values(states)) {
    for (const name of names) {
      const { run, why } = operations[name]
      const to = run(from)
      if (to.epoch !== from.epoch) made.add(key(from._tag, to._tag, why))
    }
  }
  const listed = new Set<string>()
  for (const from of Object.keys(Circuit.edges) as Array<Circuit.State>) {
    for (const to of Object.keys(Circuit.edges[from]) as Array<Circuit.State>) {
      for (const why of Circuit.edges[from][to] ?? []) listed.add(key(from, to, why))
    }
  }

  it("has every move that an operation makes", () => {
    assert.deepStrictEqual(
      [...made].filter((move) => !listed.has(move)),
      []
    )
  })

  it("has no move that no operation makes", () => {
    assert.deepStrictEqual(
      [...listed].filter((move) => !made.has(move)),
      []
    )
  })

  it("is what isLegal reads", () => {
    const tags = Object.keys(Circuit.edges) as Array<Circuit.State>
    const whys = new Set<Circuit.Why>(names.map((name) => operations[name].why))
    assert.strictEqual(tags.length, 5)
    assert.strictEqual(whys.size, 13)
    for (const from of tags) {
      for (const to of tags) {
        for (const why of whys) {
          assert.strictEqual(Circuit.isLegal(from, to, why), listed.has(key(from, to, why)), key(from, to, why))
        }
      }
    }
  })

  it("lets only an operator action or its expiry end an override", () => {
    const byPeople: ReadonlyArray<Circuit.Why> = [
      "Isolated",
      "Disabled",
      "Released",
      "Expired",
      "Reset",
      "OpenedByHand",
      "ClosedByHand"
    ]
    for (const tag of ["Isolated", "Disabled"] as const) {
      for (const whys of Object.values(Circuit.edges[tag])) for (const why of whys) assert.include(byPeople, why)
    }
  })
})

describe("time goes on beneath an override", () => {
  const second: Circuit.Open = { ...open, since: 1000, until: 1500, openings: 2 }
  const ramp = { ...rules, rampMillis: 400 }
  const again = Circuit.close(second, 1500, ramp)
  const lifted: ReadonlyArray<readonly [string, (circuit: Circuit.Circuit, now: number) => Circuit.Circuit]> = [
    ["released", Circuit.release],
    ["expired", Circuit.expire]
  ]

  it.each(lifted)("for a Closed circuit, whose openings and ramp end as without the override: %s", (_, lift) => {
    for (const tag of ["Isolated", "Disabled"] as const) {
      const after = lift(Circuit.force(again, tag, 1550, override(1600)), 1600)
      assert.deepStrictEqual(after, { ...again, epoch: again.epoch + 2 })
      assert.strictEqual(Circuit.openings(after, 1999.999), 2)
      assert.strictEqual(Circuit.openings(after, 2000), 0)
      assert.strictEqual(Circuit.retryAfter(after, 1600, rules), 300)
      assert.strictEqual(Circuit.admission(after, 1900, rules), "Normal")
    }
  })

  it.each(lifted)("for an opening, which keeps its end: %s", (_, lift) => {
    const isolated = Circuit.force(second, "Isolated", 1100, override(1400))
    assert.deepStrictEqual(lift(isolated, 1400), { ...second, epoch: isolated.epoch + 1 })
  })

  it("until it is released, or its end comes, however late that is noticed", () => {
    const isolated = Circuit.force(again, "Isolated", 1550, override(1600))
    assert.strictEqual(Circuit.expire(isolated, 1599.999), isolated)
    for (const now of [1600, 9000]) assert.deepStrictEqual(Circuit.expire(isolated, now), Circuit.release(isolated))
  })

  it.each([
    ["ends before the override", 1600, 1650],
    ["ends after it", 1300, 1550]
  ])(
    "for an opening of a fleet, which lasts longer if the overrides end by themselves: one that %s",
    (_, end, until) => {
      const isolated = { ...Circuit.force(second, "Isolated", 1100, override(end)), spread: 50 }
      const both = Circuit.force(isolated, "Disabled", 1110, override(end))
      for (const forced of [isolated, both]) {
        assert.deepStrictEqual(Circuit.release(forced), { ...second, epoch: forced.epoch + 1 })
        const after = Circuit.expire(forced, end)
        assert.deepStrictEqual(after, { ...second, epoch: forced.epoch + 1, until })
      }
      const longer = Circuit.force(isolated, "Disabled", 1110, override(1700))
      const after = Circuit.expire(Circuit.expire(longer, end), 1700)
      assert.deepStrictEqual(after, { ...second, epoch: longer.epoch + 2, until: 1750 })
    }
  )

  it("and beneath several overrides", () => {
    const first = Circuit.force(again, "Isolated", 1550, override(5000))
    const both = Circuit.force(first, "Disabled", 1700, override(Infinity))
    assert.strictEqual(Circuit.openings(both, 1999.999), 2)
    assert.strictEqual(Circuit.openings(both, 2000), 0)
    assert.deepStrictEqual(Circuit.release(both), { ...again, epoch: both.epoch + 1 })
  })

  it("for what was closed beneath it, from the close on", () => {
    const isolated = Circuit.force(second, "Isolated", 1100, override(5000))
    const shut = Circuit.moveUnder(isolated, (under) => Circuit.close(under, 1300, ramp))
    assert.strictEqual(Circuit.openings(shut, 1599.999), 2)
    assert.strictEqual(Circuit.openings(shut, 1600), 0)
    assert.deepStrictEqual(Circuit.release(shut), { ...Circuit.close(second, 1300, ramp), epoch: shut.epoch + 1 })
  })
})
