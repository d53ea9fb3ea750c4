import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { Redis } from "effect/persistence"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import {
  type FailureVerdict,
  Judge,
  ofGivenClient,
  ofGivenPool,
  ofOwnClient,
  uselessAfter,
  uselessAfterMillis,
  verdictOf
} from "../src/connection/judge.ts"
import { oneOf, runs } from "./support/garbage.ts"

const coded = (code: string, message = "") => Object.assign(new Error(message), { code })
const numbered = (errno: number, message = "") => Object.assign(new Error(message), { errno, code: "ER_ANY" })

const redis: ReadonlyArray<readonly [reply: string, verdict: FailureVerdict]> = [
  ["READONLY You can't write against a read only replica.", "Replace"],
  ["READONLY You can't write against a read only replica. script: 5f2c, on @user_script:53.", "Replace"],
  // Redis 5 and 6 write the reply of a command into the error of the script.
  [
    "ERR Error running script (call to f_5f2c): @user_script:2: -READONLY You can't write against a read only replica.",
    "Replace"
  ],
  ["LOADING Redis is loading the dataset in memory", "Replace"],
  ["NOAUTH Authentication required.", "Replace"],
  ["WRONGPASS invalid username-password pair or user is disabled.", "Replace"],
  ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "Replace"],
  ["NOREPLICAS Not enough good replicas to write.", "Count"],
  ["MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.", "Count"],
  ["CLUSTERDOWN The cluster is down", "Count"],
  ["MOVED 3999 127.0.0.1:6381", "Count"],
  ["ERR Connection refused", "Count"],
  ["The client is closed", "Count"],
  ["Socket closed unexpectedly", "Count"],
  ["NOPERM User reader has no permissions to run the 'evalsha' command", "Keep"],
  ["NOSCRIPT No matching script. Please use EVAL.", "Keep"],
  ["WRONGTYPE Operation against a key holding the wrong kind of value", "Keep"],
  ["OOM command not allowed when used memory > 'maxmemory'.", "Keep"],
  ["BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "Keep"],
  ["ERR unknown command 'EVALSHA', with args beginning with: ", "Keep"]
]

const sql: ReadonlyArray<readonly [what: string, verdict: FailureVerdict, error: unknown]> = [
  ["25006 read_only_sql_transaction", "Replace", coded("25006", "cannot execute UPDATE in a read-only transaction")],
  ["28P01 invalid_password", "Replace", coded("28P01")],
  ["28000 invalid_authorization_specification", "Replace", coded("28000")],
  ["MySQL 1045 access denied", "Replace", numbered(1045)],
  ["MySQL 1290 --read-only", "Replace", numbered(1290)],
  ["MySQL 1792 read-only transaction", "Replace", numbered(1792)],
  ["MySQL 1836 read-only mode", "Replace", numbered(1836)],
  ["53300 too_many_connections", "Count", coded("53300")],
  ["57P01 admin_shutdown", "Count", coded("57P01")],
  ["08006 connection_failure", "Count", coded("08006")],
  ["ECONNREFUSED", "Count", coded("ECONNREFUSED")],
  ["42501 insufficient_privilege", "Keep", coded("42501")],
  ["42P01 undefined_table", "Keep", coded("42P01")],
  ["40001 serialization_failure", "Keep", coded("40001")],
  ["40P01 deadlock_detected", "Keep", coded("40P01")],
  ["55P03 lock_not_available", "Keep", coded("55P03")],
  ["57014 query_canceled", "Keep", coded("57014")],
  ["MySQL 1205 lock wait timeout", "Keep", numbered(1205)],
  ["MySQL 1213 deadlock", "Keep", numbered(1213)],
  ["MySQL 1146 no such table", "Keep", numbered(1146)],
  ["SQLite: database is locked", "Keep", coded("ERR_SQLITE_ERROR", "database is locked")]
]

describe("verdictOf", () => {
  it.each(redis)("%s is %s", (reply, verdict) => {
    assert.strictEqual(verdictOf(new Error(reply)), verdict)
    assert.strictEqual(verdictOf(reply), verdict)
    assert.strictEqual(verdictOf(new Redis.RedisError({ cause: new Error(reply) })), verdict)
    assert.strictEqual(verdictOf(new AggregateError([new Error("first"), new Error(reply)])), verdict)
  })

  it.each(sql)("%s is %s", (_, verdict, error) => {
    assert.strictEqual(verdictOf(error), verdict)
    const reason = new UnknownError({ cause: error })
    assert.strictEqual(verdictOf(new SqlError({ reason })), verdict)
  })

  it("does not take a word inside another text for a reply", () => {
    for (const text of ["the key 'READONLY_FLAG'", "READONLYX", "xNOAUTH", "reloading"]) {
      assert.strictEqual(verdictOf(new Error(text)), "Count", text)
    }
  })

  it("reads any value, and cycles", () => {
    const cycle: { cause?: unknown } = {}
    cycle.cause = cycle
    for (const one of [undefined, null, 0, "", Symbol("x"), [], {}, cycle]) assert.strictEqual(verdictOf(one), "Count")
  })
})

const readOnly = new Error("READONLY You can't write against a read only replica.")
const offline = new Error("The client is offline")
const refused = new Error("NOPERM no permission")

/** Commands: how each ends, how long after the one before it is sent, and how long it takes. */
const commands = Arbitrary.array(
  Arbitrary.all({
    end: oneOf(["answered", "failed", "missed", "failed", "missed", "refused"]),
    gap: oneOf([0, 1, 250, 600, 1_000, 2_999]),
    took: oneOf([0, 1, 250, 400])
  }),
  { maxLength: 40 }
)

describe("a judge", () => {
  it("replaces an own client at the first reply of a wrong server", () => {
    assert.match(new Judge(ofOwnClient).failed(readOnly, 0, 1) ?? "", /READONLY/)
  })

  it.each([
    ["an own client", ofOwnClient, true],
    ["a client of the program", ofGivenClient, true],
    ["a pool of the program, which closes such connections itself", ofGivenPool, false]
  ])("finds that nothing was answered: %s", (_, strictness, isFound) => {
    const judge = new Judge(strictness)
    const found = Array.from({ length: 20 }, (_, i) => judge.missed(i * 300, i * 300 + 250))
    assert.strictEqual(found.findIndex((why) => why !== undefined) !== -1, isFound)
  })

  it.each([
    ["an own client", ofOwnClient, true],
    ["a client of the program, which connects again by itself", ofGivenClient, false]
  ])("finds that all commands failed: %s", (_, strictness, isFound) => {
    const judge = new Judge(strictness)
    const found = Array.from({ length: 20 }, (_, i) => judge.failed(offline, i * 300, i * 300 + 1))
    assert.strictEqual(
      found.some((why) => why !== undefined),
      isFound
    )
  })

  it("asks more than one wrong reply of a client of the program", () => {
    for (const strictness of [ofGivenClient, ofGivenPool]) {
      const judge = new Judge(strictness)
      assert.isUndefined(judge.failed(readOnly, 0, 1))
      const found = Array.from({ length: 10 }, (_, i) => judge.failed(readOnly, 1_000 * i, 1_000 * i + 1))
      assert.isTrue(found.some((why) => why?.includes("READONLY")))
    }
  })

  it.prop(
    "finds a connection useless exactly after enough misses in a row, over enough time",
    { commands },
    ({ commands }) => {
      const judge = new Judge(ofOwnClient)
      let at = 0
      let misses = 0
      let since = 0
      for (const { end, gap, took } of commands) {
        at += gap
        const sentAt = at
        at += took
        if (end === "answered") judge.answered(false)
        const why =
          end === "missed"
            ? judge.missed(sentAt, at)
            : end === "answered"
              ? undefined
              : judge.failed(end === "refused" ? refused : offline, sentAt, at)
        if (end === "answered" || end === "refused") misses = 0
        else if (misses++ === 0) since = sentAt
        assert.strictEqual(why !== undefined, misses >= uselessAfter && at - since >= uselessAfterMillis)
      }
    },
    runs("judge", 500)
  )

  it("takes the reads of a replica for no sign that it takes writes", () => {
    const judge = new Judge(ofGivenClient)
    const found = Array.from({ length: 10 }, (_, i) => {
      judge.answered(false)
      return judge.failed(readOnly, 1_000 * i, 1_000 * i + 1)
    })
    assert.isTrue(found.some((why) => why !== undefined))
    judge.answered(true)
    assert.isUndefined(judge.failed(readOnly, 20_000, 20_001))
  })

  it("does not count what a process has on its way at once: one stall of it is not enough", () => {
    const judge = new Judge(ofOwnClient)
    for (let i = 0; i < 3; i++) assert.isUndefined(judge.missed(0, 30_000))
  })
})
