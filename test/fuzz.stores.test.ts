import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, Layer, Logger, Result, Scope, Stream } from "effect"
import { BreakerPolicy, Fleet, type SharedStore, Trip } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import * as Operator from "effect-fuse/Operator"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll } from "vitest"
import { alteredText, edited, either, number, numbers, oneOf, runs, text } from "./support/garbage.ts"
import { madeBefore, ofFile } from "./support/ofFile.ts"
import { connection, send, sharedStore, until } from "./support/redisFleet.ts"
import { redisServer } from "./support/redisServer.ts"
import { onSqlite, say, sharedStore as sqlStore } from "./support/sqlFleet.ts"

// What is in a store may have been put there by a version that is not known, by another program or by hand.

const quiet = Logger.layer([])
const scope = Effect.runSync(Scope.make())
const server = madeBefore(ofFile(redisServer))
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
    "comes to a verdict in words that can be printed",
    [Arbitrary.array(count, { maxLength: 24 }), count, count, either(count, oneOf([undefined])), oneOf(trips), count],
    ([sums, voices, live, asked, trip, openings]) => {
      const tally = Fleet.fromSums(sums, { voices, live, asked })
      for (const one of [tally.convictions, tally.failing, tally.open, tally.streak])
        assert.isTrue(Number.isFinite(one) && one >= 0)
      for (const one of tally.counts) for (const n of Object.values(one)) assert.isTrue(Number.isFinite(n) && n >= 0)
      const verdict = Fleet.judge(tally, trip, Fleet.defaults, { openings, time: 0 })
      assert.include(["Open", "Wait", "Lost"], verdict._tag)
      if (verdict._tag === "Open") assert.notMatch(verdict.detail, /NaN|undefined/)
    },
    runs("tallies", 1_000)
  )
})

// ---- Answers ------------------------------------------------------------------------------------------------------

const isNumber = (n: number) => Number.isFinite(n) && n >= 0

const isStored = (stored: SharedStore.Stored | undefined): boolean =>
  stored === undefined || (typeof stored.era === "number" && typeof stored.body === "string" && isNumber(stored.age))

const isTally = (tally: SharedStore.Tally | undefined): boolean =>
  tally === undefined ||
  (isNumber(tally.voices) &&
    tally.sums.every((n) => !Number.isNaN(n)) &&
    (tally.asked === undefined || isNumber(tally.asked)))

/** What a store answers: it is what it should be, or a `StoreError` that can be printed. */
const asked = <A>(asking: Effect.Effect<A, SharedStore.StoreError>, isSound: (answer: A) => boolean) =>
  Effect.map(Effect.exit(asking), (exit) => {
    if (Exit.isSuccess(exit)) return assert.isTrue(isSound(exit.value), JSON.stringify(exit.value))
    assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
    assert.strictEqual((Cause.squash(exit.cause) as SharedStore.StoreError)._tag, "StoreError")
  })

const questions = (store: SharedStore.SharedStore, circuit: string) =>
  Effect.gen(function* () {
    const cast = { circuit, box: "b", voice: "v", ttl: 1_000 }
    const isCast = ({ live, record, tally }: SharedStore.CastAnswer) =>
      isNumber(live) && isStored(record) && isTally(tally)
    yield* asked(store.load(circuit), isStored)
    for (const ballot of [[1_000, 1, 0, 3], undefined]) {
      for (const era of [0, 5]) yield* asked(store.cast({ ...cast, era, ballot, inquire: 1 }), isCast)
    }
    yield* asked(store.list("v", 1_000), ({ live, records }) => isNumber(live) && records.every(isStored))
    yield* asked(Operator.list(store), ({ circuits }) => circuits.every(({ name }) => typeof name === "string"))
    yield* asked(Operator.exportAll(store), ({ json }) => JSON.parse(json).version === 1)
    for (const expectedEra of [0, 5]) {
      yield* asked(store.swap({ circuit, expectedEra, body: "{}", ttl: 1_000, listed: true }), ({ record }) =>
        isStored(record)
      )
    }
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
const word = either(
  oneOf(["5", "007", "-5", "0x10", "1e3", "inf", "nan", "", "9".repeat(16), "9".repeat(400), ...numbers.map(String)]),
  text
)
const csv = either(word, edited(oneOf(["1000,1,0,3,5,5,0,5000", "1,,2", ",", "1000"])))

describe("What somebody put into Redis", () => {
  const key = (name: string) => `{effect-fuse}:${name}`
  const record = Arbitrary.map(
    Arbitrary.all([word, body, word, Arbitrary.array(oneOf(["era", "body", "at"]), { maxLength: 1 })]),
    ([era, body, at, without]) => [
      "HSET",
      key("record:api"),
      ...Object.entries({ era: era, body, at }).flatMap(([field, value]) =>
        without.some((one) => one === field) ? [] : [field, value]
      )
    ]
  )
  const ballots = Arbitrary.map(
    Arbitrary.all([
      oneOf(["0", "5", "x"]),
      Arbitrary.array(Arbitrary.all([oneOf(["b|voices", "b|sums", "b|asked", "b|vv", "b|vw", "|", "b"]), csv]), {
        minLength: 1,
        maxLength: 4
      })
    ]),
    ([era, fields]) => ["HSET", key("ballots:api"), "era", era, ...fields.flat()]
  )
  const ends = Arbitrary.map(
    Arbitrary.all([oneOf(["-inf", "0", "1", "+inf"]), oneOf(["b|vv", "b|vw", "|", "x"])]),
    ([score, member]) => ["ZADD", key("until:api"), score, member]
  )
  const listed = Arbitrary.map(
    Arbitrary.all([oneOf(["live", "listed"]), oneOf(["-inf", "1e300", "+inf"]), either(text, oneOf(["api"]))]),
    ([name, score, member]) => ["ZADD", key(name), score, member]
  )
  const counter = Arbitrary.map(word, (one) => ["SET", key("era"), one])
  const other = Arbitrary.map(
    Arbitrary.all([oneOf(["record:api", "ballots:api", "until:api", "era", "live", "listed"]), word]),
    ([name, one]) => ["SET", key(name), one]
  )
  const command = either(either(record, ballots), either(either(ends, listed), either(counter, either(other, record))))

  it.live.prop(
    "is a record, a ballot or nothing, or it is an error that the store failed; other circuits are as they were",
    [Arbitrary.array(command, { minLength: 1, maxLength: 4 })],
    ([commands]) =>
      Effect.gen(function* () {
        const redis = yield* connected
        yield* send(redis, "FLUSHALL")
        for (const [verb = "", ...args] of commands) yield* Effect.exit(send(redis, verb, ...args))
        const store = yield* sharedStore(redis)
        yield* questions(store, "api")
        const foreign = commands.some(([verb, at = ""]) => verb === "SET" && /live|listed/.test(at))
        if (foreign) return
        const { records } = yield* store.list("v", 1_000)
        assert.isTrue(records.every(({ era }) => Number.isSafeInteger(era) && era >= 1))
        const { record, swapped } = yield* store.swap({
          circuit: "other",
          expectedEra: 0,
          body: "b",
          ttl: 1_000,
          listed: false
        })
        assert.isTrue(swapped && Number.isSafeInteger(record?.era))
      }).pipe(Effect.scoped),
    runs("redis", 150)
  )

  const connected = Effect.flatMap(server, ({ url }) => Scope.provide(connection(url), scope))
  const message = either(
    edited(
      oneOf([
        "R 5 api {}",
        "I 5 api b",
        "R 1 a/b two words\n{}",
        `R ${"9".repeat(400)} api {}`,
        "I 0 a%0020b b",
        "R 9007199254740993 api {}"
      ])
    ),
    text
  )
  it.live.prop(
    "and announced is a change that can be followed, or is not heard",
    [Arbitrary.array(message, { minLength: 50, maxLength: 50 })],
    ([messages]) =>
      Effect.gen(function* () {
        const redis = yield* connected
        const store = yield* sharedStore(yield* connection((yield* server).url))
        const heard: Array<SharedStore.Change> = []
        yield* Effect.forkScoped(Stream.runForEach(store.changes, (change) => Effect.sync(() => heard.push(change))))
        yield* until(
          "it listens",
          Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
        )
        for (const one of [...messages, "I 7 the-end b"]) yield* send(redis, "PUBLISH", key("changes"), one)
        yield* until(
          "all is heard",
          Effect.sync(() => heard.at(-1)?.circuit === "the-end")
        )
        for (const change of heard) {
          assert.isTrue(Number.isSafeInteger(change.era) && change.era >= 0, JSON.stringify(change))
          assert.match(change.circuit, /^\S+$/)
        }
      }).pipe(Effect.scoped),
    runs("announced", 10)
  )
})

describe("What somebody put into a database", () => {
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
    circuit_breakers: ["circuit", "era", "body", "listed", "written_at", "ends_at"],
    circuit_breaker_ballots: ["circuit", "box", "voice", "era", "numbers", "ends_at"],
    circuit_breaker_inquiries: ["circuit", "box", "era", "asked_at", "ends_at"],
    circuit_breaker_voices: ["voice", "ends_at"],
    circuit_breaker_eras: ["id", "era"],
    circuit_breaker_events:
      "id at circuit_id circuit circuit_key from_state to_state why detail actor scope process mode era openings retry_after lasted outage outage_since outage_openings down_for calls failures slow streak metadata".split(
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
    voice: "'w'",
    era: "5",
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
          `INSERT INTO circuit_breaker_ballots VALUES ('api', 'b', 'other${i}', 0, '${one}', 9007199254740991)`
        )
      }
      const cast = { circuit: "api", era: 0, box: "b", voice: "v", ballot: [1_000, 1, 0, 3], ttl: 60_000, inquire: 0 }
      const { tally } = yield* store.cast(cast)
      assert.deepStrictEqual(tally, { voices: 1, sums: [1_000, 1, 0, 3], asked: undefined })
    }).pipe(Effect.scoped)
  )

  it.live("does not keep others from being heard", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* emptyDatabase
      const heard = new Set<string>()
      yield* Effect.forkScoped(
        Stream.runForEach(store.changes, ({ _tag, circuit }) => Effect.sync(() => heard.add(`${_tag} of ${circuit}`)))
      )
      const tell = (circuit: string) =>
        Effect.gen(function* () {
          yield* store.swap({ circuit, expectedEra: 0, body: "b", ttl: 60_000, listed: true })
          yield* store.cast({
            circuit: `${circuit}?`,
            era: 0,
            box: "b",
            voice: "v",
            ballot: [1],
            ttl: 60_000,
            inquire: 1
          })
          yield* until(
            `${circuit} is heard of`,
            Effect.sync(() => heard.has(`Record of ${circuit}`) && heard.has(`Inquiry of ${circuit}?`))
          )
        })
      // What was there before it listens is not news.
      yield* Effect.sleep(200)
      yield* tell("before")
      for (const far of ["9007199254740991", "'abc'"]) {
        yield* say(sql, `INSERT OR REPLACE INTO circuit_breakers VALUES ('far', ${far}, 'b', 1, 1, NULL)`)
        yield* say(
          sql,
          `INSERT OR REPLACE INTO circuit_breaker_inquiries VALUES ('far', 'b', 0, ${far}, 9007199254740991)`
        )
        yield* Effect.sleep(200)
        yield* tell(`after ${far}`)
      }
    }).pipe(Effect.scoped)
  )

  const emptyDatabase = Effect.gen(function* () {
    const sql = yield* (yield* onSqlite).open
    yield* Effect.provideContext(SqlStore.migrate(), sql)
    return { sql, store: yield* sqlStore(sql) }
  })
  const database = Effect.runSync(Effect.cached(Scope.provide(emptyDatabase, scope)))
})
