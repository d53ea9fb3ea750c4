import { assert, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Trip } from "effect-fuse"
import { Circuit, Fleet, type Window } from "effect-fuse/core"
import { pick } from "./support/garbage.ts"

const runs = (seed: string) => ({ arbitrary: { runs: 500, size: 40, seed } })

// ---- Ballots ------------------------------------------------------------------------------------------------------

const overs: ReadonlyArray<Window.Over> = [
  { _tag: "Time", millis: 10_000 },
  { _tag: "Calls", calls: 10 }
]
const trips: Readonly<Record<string, Trip.Trip>> = {
  streak: { _tag: "Consecutive", failures: 5 },
  rate: { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, over: overs[0] ?? { _tag: "Calls", calls: 1 } },
  lastTen: { _tag: "Failures", atLeast: 5, over: overs[1] ?? { _tag: "Calls", calls: 1 } }
}
const both: Trip.Trip = { _tag: "Any", trips: Object.values(trips) }

const counts = Arbitrary.map(
  Arbitrary.all({ calls: pick(0, 1, 3, 10, 50), failing: pick(0, 0.5, 1), slow: pick(0, 1), weight: pick(0.5, 1, 7) }),
  ({ calls, failing, slow, weight }): Window.Counts => {
    const failures = Math.floor(calls * failing)
    return { calls, failures, slow: calls * slow, weight: failures * weight }
  }
)
const ballot = Arbitrary.map(
  Arbitrary.all({ streak: pick(0, 0, 1, 2, 3, 5), open: pick(false, false, true), time: counts, calls: counts }),
  ({ calls, open, streak, time }): Fleet.Ballot => ({
    conviction: open ? 1 : Fleet.conviction(streak, [time, calls], Fleet.defaults),
    open,
    streak,
    counts: [time, calls]
  })
)
const ballots = Arbitrary.array(ballot, { maxLength: 12 })
const seen = Arbitrary.all({
  ballots,
  /** How many live and have no ballot, and how many of those are known to have abstained. */
  silent: pick(0, 0, 1, 2, 20),
  abstained: pick(0, 0, 1, 2, 19, 20),
  young: pick(false, false, false, true),
  asked: Arbitrary.schema(Schema.UndefinedOr(Schema.Literals([0, 74, 75, 76, 10_000]))),
  quorum: pick(0.25, 0.5, 0.9),
  trip: pick("streak", "rate", "lastTen", "both")
})

/** What any store does: places added up, in the order that they come. */
const addUp = (ballots: ReadonlyArray<Fleet.Ballot>): ReadonlyArray<number> =>
  ballots.map(Fleet.toNumbers).reduce<Array<number>>((sums, one) => one.map((n, place) => n + (sums[place] ?? 0)), [])

const tallyOf = (ballots: ReadonlyArray<Fleet.Ballot>, live: number, asked?: number, abstained = 0): Fleet.Tally =>
  Fleet.fromSums(addUp(ballots), { voters: ballots.length, live, abstained, asked })

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)
const more = { openings: 1, time: 5 }

it.prop(
  "a tally is the sum of the ballots, in any order",
  { ballots, rotate: pick(0, 1, 5) },
  ({ ballots, rotate }) => {
    const tally = tallyOf(ballots, 99, 7)
    const none = { calls: 0, failures: 0, slow: 0, weight: 0 }
    const total = (place: number): Window.Counts =>
      ballots
        .map((one) => one.counts[place] ?? none)
        .reduce(
          (all, one) => ({
            calls: all.calls + one.calls,
            failures: all.failures + one.failures,
            slow: all.slow + one.slow,
            weight: all.weight + one.weight
          }),
          none
        )
    assert.deepStrictEqual(tally, {
      voters: ballots.length,
      live: 99,
      abstained: 0,
      asked: 7,
      convictions: sum(ballots.map((one) => Math.round(one.conviction * 1000))) / 1000,
      failing: ballots.filter((one) => one.conviction > 0).length,
      open: ballots.filter((one) => one.open).length,
      streak: sum(ballots.map((one) => one.streak)),
      counts: ballots.length === 0 ? [] : [total(0), total(1)]
    })
    const turned = [...ballots.slice(rotate), ...ballots.slice(0, rotate)].reverse()
    assert.deepStrictEqual(addUp(turned), addUp(ballots))
  },
  runs("sums")
)

it.prop(
  "a ballot as numbers is whole and not negative, and loses less than a thousandth",
  {
    conviction: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
    weight: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e9 })),
    streak: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 31 })),
    open: Schema.Boolean
  },
  ({ conviction, open, streak, weight }) => {
    const said = { conviction, open, streak, counts: [{ calls: 9, failures: 8, slow: 7, weight }] }
    const numbers = Fleet.toNumbers(said)
    assert.isTrue(numbers.every((n) => Number.isSafeInteger(n) && n >= 0))
    const tally = Fleet.fromSums(numbers, { voters: 1, live: 1, abstained: 0, asked: undefined })
    assert.closeTo(tally.convictions, conviction, 0.0005)
    assert.strictEqual(tally.failing, conviction > 0 ? 1 : 0, "who is convinced at all is counted")
    assert.deepStrictEqual([tally.open, tally.streak], [open ? 1 : 0, streak])
    assert.closeTo(tally.counts[0]?.weight ?? -1, weight, 0.0006)
    assert.deepStrictEqual({ ...tally.counts[0], weight: 0 }, { calls: 9, failures: 8, slow: 7, weight: 0 })
  },
  runs("whole")
)

it.prop(
  "windows over time are added up, and windows over calls are scaled to the pooled shares",
  { ballots },
  ({ ballots }) => {
    const tally = tallyOf(ballots, ballots.length)
    const pooled = Fleet.pooled(tally, both, more)
    const healthy = ballots.filter((one) => one.conviction === 0).length
    assert.strictEqual(pooled.streak, Math.max(0, sum(ballots.map((one) => one.streak)) - healthy))
    overs.forEach((over, place) => {
      const all = tally.counts[place] ?? { calls: 0, failures: 0, slow: 0, weight: 0 }
      const found = pooled.counts({ ...over })
      if (over._tag === "Time") assert.deepStrictEqual(found, all)
      else {
        assert.strictEqual(found.calls, Math.min(over.calls, all.calls))
        for (const field of ["failures", "slow", "weight"] as const) {
          assert.closeTo(found[field] * all.calls, all[field] * found.calls, 1e-6, field)
          assert.isAtMost(found[field], all[field])
        }
      }
    })
  },
  runs("pooled")
)

// ---- Judging ------------------------------------------------------------------------------------------------------

const judged = (
  { ballots, quorum, trip }: { ballots: ReadonlyArray<Fleet.Ballot>; quorum: number; trip: string },
  { abstained, live }: { abstained: number; live: number },
  asked?: number,
  young = false
) =>
  Fleet.judge(
    tallyOf(ballots, live, asked, abstained),
    trips[trip] ?? both,
    { ...Fleet.defaults, quorum },
    { ...more, young }
  )

it.prop(
  "a fleet opens if and only if most possible objectors agree, at least two, and the policy or most open circuits support it",
  { seen },
  ({ seen: { abstained: most, asked, ballots, quorum, silent, trip, young } }) => {
    const rule = trips[trip] ?? both
    const live = ballots.length + silent
    const abstained = Math.min(most, silent)
    const verdict = judged({ ballots, quorum, trip }, { live, abstained }, asked, young)

    const convinced = sum(ballots.map((one) => one.conviction))
    const notAlone = ballots.filter((one) => one.conviction > 0).length >= 2 || live <= 1
    const policySays = Trip.tripped(rule, Fleet.pooled(tallyOf(ballots, live), rule, more)) !== undefined
    const opensAmong = (voting: number): boolean =>
      convinced > quorum * voting &&
      notAlone &&
      (policySays || ballots.filter((one) => one.open).length > quorum * voting)
    const opens = opensAmong(live - abstained)
    assert.strictEqual(verdict._tag === "Open", opens && !young)
    assert.strictEqual(verdict._tag === "Young", opens && young)
    assert.strictEqual(verdict._tag === "RollCall", !opens && opensAmong(ballots.length))
    if (verdict._tag === "Wait") {
      assert.strictEqual(verdict.agreed, convinced > quorum * ballots.length && notAlone)
    }
    const answered = asked !== undefined && asked >= 75
    const hopeless = convinced <= quorum * ballots.length && answered && convinced < (quorum * ballots.length) / 2
    assert.strictEqual(verdict._tag === "Lost", hopeless)
  },
  runs("judge")
)

it.prop(
  "silence never opens a fleet: neither more silent processes, nor time, nor abstentions that are not counted",
  { seen, more: pick(0, 1, 5, 100) },
  ({ more: others, seen: { abstained: most, ballots, quorum, silent, trip } }) => {
    const abstained = Math.min(most, silent)
    const live = ballots.length + silent
    const opens = (counted: number, alive: number, asked?: number) =>
      judged({ ballots, quorum, trip }, { live: alive, abstained: counted }, asked)._tag === "Open"
    const now = opens(abstained, live)
    for (const asked of [0, 75, 1e6]) assert.strictEqual(opens(abstained, live, asked), now)
    if (now) return
    for (let counted = 0; counted <= abstained; counted++) assert.isFalse(opens(counted, live + others))
  },
  runs("silence")
)

it.prop(
  "a roll call opens the fleet if all silent processes abstain, and not always if one does not",
  { seen },
  ({ seen: { ballots, quorum, silent, trip } }) => {
    const live = ballots.length + silent
    const verdict = judged({ ballots, quorum, trip }, { live, abstained: 0 })
    const after = judged({ ballots, quorum, trip }, { live, abstained: silent })
    assert.strictEqual(verdict._tag === "RollCall" || verdict._tag === "Open", after._tag === "Open")
  },
  runs("roll call")
)

it.prop(
  "ballots that open a fleet still open it if another process fails, too",
  { seen, extra: ballot },
  ({ extra, seen: { abstained: most, ballots, quorum, silent } }) => {
    const live = ballots.length + silent
    const abstained = Math.min(most, silent)
    if (judged({ ballots, quorum, trip: "streak" }, { live, abstained })._tag !== "Open") return
    const failing = { ...extra, conviction: 1, streak: Math.max(2, extra.streak), open: true }
    const verdict = judged({ ballots: [...ballots, failing], quorum, trip: "streak" }, { live: live + 1, abstained })
    assert.strictEqual(verdict._tag, "Open")
  },
  runs("monotone")
)

// ---- Records ------------------------------------------------------------------------------------------------------

const cause: Circuit.Cause = { why: "Tripped", detail: "it failed", actor: undefined }
const millis = pick(0, 1, 5, 10, 100, 60_000, 0.25, 86_400_000)
const leases = Arbitrary.array(Arbitrary.all({ id: pick(1e6, 2e6, 3e6), until: millis }), { maxLength: 3 })
const circuit = Arbitrary.map(
  Arbitrary.all({
    tag: pick("Closed", "Open", "HalfOpen", "Isolated", "Disabled"),
    epoch: pick(0, 1, 9),
    since: millis,
    lasts: millis,
    under: pick("Closed", "Open"),
    underLasts: millis,
    ramps: pick(false, true),
    endless: pick(false, false, true),
    leases
  }),
  ({ endless, epoch, lasts, leases, ramps, since, tag, under, underLasts }): Circuit.Circuit => {
    const outage = { since: since - underLasts, at: 5, openings: 2 }
    const rampUntil = ramps ? since + lasts + 1 : 0
    const closed: Circuit.Closed = { _tag: "Closed", epoch, since, openings: 2, openFor: underLasts, rampUntil }
    const opened: Circuit.Open = { _tag: "Open", epoch, since, until: since + underLasts, openings: 2, outage, cause }
    const own = leases.filter(({ id }, place) => leases.findIndex((one) => one.id === id) === place)
    switch (tag) {
      case "Closed":
        return closed
      case "Open":
        return opened
      case "HalfOpen": {
        const taken = own.map(({ id, until }) => ({ id, until: since + until }))
        const of = {
          epoch,
          since,
          openings: 2,
          openFor: underLasts,
          outage,
          cause,
          successes: 1,
          failures: 0,
          ignored: 3
        }
        return { _tag: "HalfOpen", ...of, leases: taken, nextLease: 0 }
      }
      default: {
        const until = endless ? Infinity : since + lasts
        const forced = {
          epoch,
          since,
          until,
          reason: "drill",
          actor: "ann",
          others: [],
          under: under === "Open" ? opened : closed
        }
        return { _tag: tag, ...forced }
      }
    }
  }
)
const rules = Arbitrary.all({
  probes: pick(1, 2, 3),
  successesToClose: pick(1, 2),
  failuresToReopen: pick(1, 2),
  probeTimeoutMillis: pick(1, 100, 30_000),
  rampMillis: pick(0, 100)
})
const shifts = pick(1, 2.5, 1000, 1e9)

/** From when on a state that is not written to is forgotten harmlessly. */
const deadline = (circuit: Circuit.Circuit): number => {
  switch (circuit._tag) {
    case "Closed":
      return Math.max(circuit.rampUntil, circuit.since + circuit.openFor)
    case "Open":
      return circuit.until
    case "HalfOpen":
      return Math.max(circuit.since, ...circuit.leases.map(({ until }) => until))
    default:
      return Math.max(circuit.until, deadline(circuit.under))
  }
}

it.prop(
  "shifting the times of a state forth and back does not change it",
  { circuit, by: shifts },
  ({ by, circuit }) => {
    const moved = Fleet.shift(circuit, by)
    assert.strictEqual(moved.since, circuit.since + by)
    assert.strictEqual(deadline(moved), deadline(circuit) + by)
    assert.deepStrictEqual(Fleet.shift(moved, -by), circuit)
    assert.deepStrictEqual(Fleet.shift(circuit, 0), circuit)
    assert.deepStrictEqual(Fleet.shift(Fleet.shift(circuit, by), by), Fleet.shift(circuit, 2 * by))
  },
  runs("shift")
)

it.prop(
  "a shifted state admits the same calls at times that are shifted equally",
  { circuit, by: shifts, rules, after: millis },
  ({ after, by, circuit, rules }) => {
    const moved = Fleet.shift(circuit, by)
    for (const now of [circuit.since, circuit.since + after, deadline(circuit), 1e12]) {
      if (now === Infinity) continue
      const then = now + by
      assert.strictEqual(Circuit.admission(moved, then, rules), Circuit.admission(circuit, now, rules))
      assert.strictEqual(Circuit.retryAfter(moved, then, rules), Circuit.retryAfter(circuit, now, rules))
      assert.strictEqual(Fleet.isListed(moved, then), Fleet.isListed(circuit, now))
      assert.strictEqual(Fleet.keptFor(moved, then), Fleet.keptFor(circuit, now))
      if (circuit._tag === "Closed" && moved._tag === "Closed" && circuit.rampUntil > 0) {
        assert.strictEqual(Circuit.rampShare(moved, then), Circuit.rampShare(circuit, now))
      }
    }
  },
  runs("commute")
)

it.prop(
  "a lease is a probe slot with the given token, and does not change other leases",
  { circuit, rules, token: pick(2 ** 32, 2 ** 52), after: millis },
  ({ after, circuit, rules, token }) => {
    if (circuit._tag !== "Open" && circuit._tag !== "HalfOpen") return
    const now = circuit.since + after
    const plain = Circuit.probe(circuit, now, rules)
    const leased = Fleet.lease(circuit, token, now, rules)
    const others = circuit._tag === "Open" ? [] : circuit.leases.filter(({ until }) => now < until)
    const own = { id: token, until: now + rules.probeTimeoutMillis }
    assert.deepStrictEqual(leased, { ...plain, leases: [...others, own] })
    const settled = Circuit.settleProbe(leased, token, { _tag: "Ignored" }, now, { ...rules, successesToClose: 9 })
    assert.deepStrictEqual(settled._tag === "HalfOpen" ? settled.leases : undefined, others)
  },
  runs("lease")
)

it.prop(
  "a store keeps a record until its end and longer, and a record without an end for ever",
  { circuit, after: millis, lifted: Schema.Boolean },
  ({ after, circuit, lifted }) => {
    const now = circuit.since + after
    // An override that is over is expired before it is written again.
    if (Circuit.expire(circuit, now) !== circuit) return
    const kept = Fleet.keptFor(circuit, now, lifted)
    if (deadline(circuit) === Infinity) return assert.isUndefined(kept)
    assert.isAtLeast(kept ?? Infinity, deadline(circuit) - now + (circuit._tag === "Closed" ? 0 : 1_000))
    assert.isAtLeast(kept ?? 0, 60_000)
    assert.isBelow(kept ?? 0, Infinity)
    if (lifted && (circuit._tag === "Closed" || circuit._tag === "Open")) assert.isAtLeast(kept ?? 0, 86_400_000)
  },
  runs("kept")
)

it.prop(
  "only a state that admits every call is not listed",
  { circuit, after: millis, rules },
  ({ after, circuit, rules }) => {
    const now = circuit.since + after
    const plain = circuit._tag === "Closed" && Circuit.admission(circuit, now, rules) === "Normal"
    assert.strictEqual(Fleet.isListed(circuit, now), !plain)
  },
  runs("listed")
)
