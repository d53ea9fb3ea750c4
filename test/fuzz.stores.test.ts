import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, Layer, Logger, Result, Scope } from "effect"
import { BreakerPolicy, SharedStore, Trip } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { Fleet } from "effect-fuse/core"
import * as Operator from "effect-fuse/Operator"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll } from "vitest"
import { cast, castOf, swap } from "./support/exchanges.ts"
import { alteredText, edited, either, number, numbers, oneOf, runs, word } from "./support/garbage.ts"
import { onSqlite, say, sharedStore as sqlStore } from "./support/sqlFleet.ts"

// What is in a store may have been put there by a version that is not known, by another program or by hand.

const quiet = Logger.layer([])
const scope = Effect.runSync(Scope.make())
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

// ---- Tallies ------------------------------------------------------------------------------------------------------

describe("A tally of any numbers", () => {
  const over = "10 seconds"
  const trips = [
    Trip.consecutive(2),
    Trip.any(
      Trip.failureRate({ threshold: 0.5, minimumCalls: 3, over: 10 }),
      Trip.slowRate({ threshold: 0.5, minimumCalls: 3, over })
    ),
    Trip.all(Trip.failures({ atLeast: 2, of: 5 }), Trip.weighted({ atLeast: 3, over })),
    Trip.any(Trip.stuck({ calls: 1, olderThan: 1 }), Trip.consecutive(1))
  ].map((trip) => Result.getOrThrow(BreakerPolicy.decode({ trip })).trip)
  const count = either(number, oneOf([0, 1, 2, 3, 1_000, 2_000, 5_000]))

  it.prop(
    "leads to a verdict whose text can be printed",
    [
      Arbitrary.array(count, { maxLength: 24 }),
      Arbitrary.all([count, count, count]),
      either(count, oneOf([undefined])),
      oneOf(trips),
      count
    ],
    ([sums, [voters, live, abstained], asked, trip, openings]) => {
      const tally = Fleet.fromSums(sums, { voters, live, abstained, asked })
      for (const one of [tally.convictions, tally.failing, tally.open, tally.streak])
        assert.isTrue(Number.isFinite(one) && one >= 0)
      for (const one of tally.counts) for (const n of Object.values(one)) assert.isTrue(Number.isFinite(n) && n >= 0)
      const verdict = Fleet.judge(tally, trip, Fleet.defaults, { openings, time: 0 })
      assert.include(["Open", "RollCall", "Wait", "Lost"], verdict._tag)
      if (verdict._tag === "Open") assert.notMatch(verdict.detail, /NaN|undefined/)
    },
    runs("tallies", 1_000)
  )
})

// ---- Answers ------------------------------------------------------------------------------------------------------

const isNumber = (n: number) => Number.isFinite(n) && n >= 0

const isStored = (stored: SharedStore.Stored | undefined): boolean =>
  stored === undefined || (typeof stored.epoch === "number" && typeof stored.body === "string" && isNumber(stored.age))

const isTally = (tally: SharedStore.StoredTally | undefined): boolean =>
  tally === undefined ||
  (isNumber(tally.voters) &&
    isNumber(tally.abstained) &&
    tally.sums.every((n) => !Number.isNaN(n)) &&
    [tally.asked, tally.rolled].every((millis) => millis === undefined || isNumber(millis)))

/** What a store answers: it is what it should be, or a `StoreError` that can be printed. */
const asked = <A>(asking: Effect.Effect<A, SharedStore.StoreError>, isSound: (answer: A) => boolean) =>
  Effect.map(Effect.exit(asking), (exit) => {
    if (Exit.isSuccess(exit)) return assert.isTrue(isSound(exit.value), JSON.stringify(exit.value))
    assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
    assert.strictEqual((Cause.squash(exit.cause) as SharedStore.StoreError)._tag, "StoreError")
  })

const questions = (store: SharedStore.SharedStore, circuit: string) =>
  Effect.gen(function* () {
    const exchange = (more: Partial<SharedStore.Exchange>) =>
      asked(
        store.exchange({
          voter: "v",
          ttl: 5_000,
          notAfter: undefined,
          heard: 0,
          floor: 0,
          casts: [],
          swaps: [],
          ...more
        }),
        (answer) =>
          isNumber(answer.time) &&
          (answer._tag === "Late" ||
            ([answer.live, answer.liveFor, answer.head].every(isNumber) &&
              answer.rollCalls.every(({ prev, seq }) => Number.isSafeInteger(seq) && prev < seq) &&
              answer.casts.every(({ record, tally }) => isStored(record) && isTally(tally)) &&
              answer.swaps.every(({ record }) => isStored(record))))
      )
    const loaded = asked(store.load([circuit]), ({ records, time }) => isNumber(time) && records.every(isStored))
    yield* loaded
    for (const ballot of [[1_000, 1, 0, 3], undefined]) {
      const casts = [0, 5].map((epoch) => cast({ circuit, epoch, ballot, ttl: 1_000, inquire: 1, roll: 1 }))
      yield* exchange({ casts })
    }
    // As a heartbeat of one that lives.
    yield* exchange({})
    yield* asked(
      store.page(0, SharedStore.limits.page),
      ({ changes, epoch, listed, live, trimmed }) =>
        [epoch, listed, live, trimmed].every(isNumber) && changes.every(({ record }) => isStored(record))
    )
    yield* asked(Operator.list(store), ({ circuits }) => circuits.every(({ name }) => typeof name === "string"))
    yield* asked(Operator.exportAll(store), ({ json }) => JSON.parse(json).version === 1)
    for (const expectedEpoch of [0, 5]) {
      yield* exchange({ swaps: [swap({ circuit, expectedEpoch, body: "{}", ttl: 1_000 })] })
    }
    yield* loaded
  })

const state = {
  _tag: "Open",
  since: -5,
  until: 60_000,
  openings: 1,
  outage: { since: -5, at: 1_700_000_000_000, openings: 1 },
  cause: { why: "Tripped", detail: "d", actor: null }
}
const record = {
  v: 1,
  state,
  why: "Tripped",
  detail: "d",
  actor: null,
  policy: null,
  process: "p",
  at: 1_700_000_000_000
}
const body = alteredText([record])
const csv = either(word, edited(oneOf(["1000,1,0,3,5,5,0,5000", "1,,2", ",", "1000"])))

describe("Rows that another program wrote to a database", () => {
  const value = either(
    oneOf([
      ...numbers
        .filter((one) => !Number.isNaN(one))
        .map(String)
        .filter((one) => !/Inf/.test(one)),
      "NULL",
      "'abc'",
      "X'00ff'",
      "9223372036854775807",
      "1e999",
      "-1e999"
    ]),
    Arbitrary.map(either(body, csv), (one) => `'${one.replaceAll("'", "''").replaceAll("\0", "")}'`)
  )
  const columns = {
    circuit_breakers: ["circuit", "epoch", "body", "listed", "changed", "written_at", "ends_at", "gone_at"],
    circuit_breaker_ballots: ["circuit", "voter", "box", "epoch", "life", "numbers", "ends_at"],
    circuit_breaker_boxes:
      "circuit box epoch voters sums asked_at roll_seq roll_at burials built_at valid_until ends_at".split(" "),
    circuit_breaker_voters: ["voter", "life", "heard", "ends_at"],
    circuit_breaker_rolls: ["seq", "prev", "circuit", "epoch", "box"],
    circuit_breaker_store: ["id", "epoch", "trimmed", "born_at", "head", "burials", "swept_at"],
    circuit_breaker_events:
      "id at circuit_id circuit circuit_key from_state to_state why detail actor scope process mode epoch openings retry_after lasted outage outage_since outage_openings down_for calls failures slow streak metadata".split(
        " "
      ),
    circuit_breaker_states:
      "circuit_id owner circuit circuit_key state since why detail actor openings ends_at outage_since outage_openings version".split(
        " "
      ),
    circuit_breaker_heartbeats: ["owner", "process", "ends_at"],
    circuit_breaker_snapshots:
      "id at circuit circuit_name process run state circuits healthy calls successes failures ignored slow rejected in_flight failure_rate".split(
        " "
      )
  }
  const usual: Readonly<Record<string, string>> = {
    circuit: "'api'",
    circuit_id: "'api'",
    circuit_name: "'api'",
    box: "'b'",
    voter: "'w'",
    epoch: "5",
    ends_at: "9999999999999",
    listed: "1",
    at: "9999999999999",
    down_for: "5",
    to_state: "'Open'",
    state: "'Open'",
    numbers: "'1000,1,0,3'"
  }
  const row = Arbitrary.flatMap(oneOf(Object.entries(columns)), ([table, names]) =>
    Arbitrary.map(
      Arbitrary.array(Arbitrary.all([value, oneOf([true, false, false])]), {
        minLength: names.length,
        maxLength: names.length
      }),
      (values) => {
        const cells = names.map((name, i) => (values[i]?.[1] === true ? values[i][0] : (usual[name] ?? "1")))
        return `INSERT OR REPLACE INTO ${table} (${names.join(", ")}) VALUES (${cells.join(", ")})`
      }
    )
  )
  const tables = Object.keys(columns)
  const isText = (one: unknown) => typeof one === "string"

  it.live.prop(
    "is a record, a ballot or nothing, a line or a snapshot of a trail, or it is an error that the database failed",
    [Arbitrary.array(row, { minLength: 1, maxLength: 4 })],
    ([rows]) =>
      Effect.gen(function* () {
        const { sql, store } = yield* database
        for (const table of tables) yield* say(sql, `DELETE FROM ${table}`)
        for (const one of rows) yield* Effect.exit(say(sql, one))
        yield* questions(store, "api")
        const reader = Layer.provide(AuditTrail.layerReader({ migrate: false }), Layer.succeedContext(sql))
        const within = { within: "1000 days" } as const
        const areTexts = (rows: ReadonlyArray<{ readonly circuit: string }>) =>
          rows.every(({ circuit }) => isText(circuit))
        const states = [AuditTrail.openNow, AuditTrail.failing, AuditTrail.forced]
        const lines = [AuditTrail.latest(), AuditTrail.history("api"), AuditTrail.longestOpenings(within)]
        const trail = [
          ...states.map((one) => Effect.map(one, areTexts)),
          ...lines.map((one) => Effect.map(one, areTexts)),
          Effect.map(AuditTrail.openedWithin(within), areTexts)
        ]
        const others = [
          Effect.map(AuditTrail.transitionsPerDay(within), (days) =>
            days.every(({ day }) => /^([+-]\d\d)?\d{4}-\d\d-\d\d$/.test(day))
          ),
          Effect.map(AuditTrail.timeToRecover(within), ({ recoveries }) => isNumber(recoveries)),
          Effect.map(Snapshots.series("api", within), (all) => all.every(({ name }) => isText(name))),
          Effect.map(AuditTrail.prune({ olderThan: "1000 days" }), isNumber)
        ]
        for (const question of [...trail, ...others]) {
          const exit = yield* Effect.exit(Effect.provide(question, reader, { local: true }))
          if (Exit.isSuccess(exit)) assert.isTrue(exit.value)
          else assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
        }
      }).pipe(Effect.provide(quiet)),
    runs("sqlite", 40)
  )

  it.live("and is no ballot is not counted as one", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* emptyDatabase
      const numbers = ["abc", "", "1000,x", "Infinity,1,1,1", "NaN", "1e308,1e308", "0.5", "9007199254740992"]
      for (const [i, one] of numbers.entries()) {
        yield* say(
          sql,
          `INSERT INTO circuit_breaker_ballots VALUES ('api', 'other${i}', 'b', 0, 0, '${one}', 9007199254740991)`
        )
      }
      const { tally } = yield* castOf(store, cast({ ballot: [1_000, 1, 0, 3] }))
      const none = { asked: undefined, rolled: undefined, abstained: 0 }
      assert.deepStrictEqual(tally, { voters: 1, sums: [1_000, 1, 0, 3], ...none })
    }).pipe(Effect.scoped)
  )

  const emptyDatabase = Effect.gen(function* () {
    const sql = yield* (yield* onSqlite).open
    yield* Effect.provideContext(SqlStore.migrate(), sql)
    return { sql, store: yield* sqlStore(sql) }
  })
  const database = Effect.runSync(Effect.cached(Scope.provide(emptyDatabase, scope)))
})
