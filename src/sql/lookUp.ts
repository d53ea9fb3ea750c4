import type { Fragment } from "effect/sql/Statement"
import { type Exchange, limits, type RollCall } from "../store/SharedStore.ts"
import { type BallotBox, numbersOf, type VoterBallot } from "./ballotBoxes.ts"
import { type Database, type SqlRow, toNumber, toWhole } from "./database.ts"
import type { Recorded } from "./records.ts"

export interface LookUpAnswer {
  readonly time: number
  readonly epoch: number
  readonly trimmed: number
  readonly bornAt: number
  /** Empty if the store was never used. */
  readonly life: string
  readonly head: number
  readonly burials: number
  readonly sweptAt: number
  /** The other live voters, counted by how far they have heard. */
  readonly others: ReadonlyArray<readonly [heard: number, voters: number]>
  readonly dead: number
  readonly own: { readonly endsAt: number; readonly heard: number; readonly life: number } | undefined
  readonly records: ReadonlyMap<string, Recorded>
  readonly boxes: ReadonlyArray<BallotBox>
  readonly ballots: ReadonlyArray<VoterBallot>
  readonly rollCalls: ReadonlyArray<RollCall>
}

/** How far the voter has heard the present log. */
export const validHeard = (database: Database, { heard, life = "" }: Exchange): Fragment => {
  const { sql } = database
  const said = database.big(heard)
  return sql`(SELECT CASE WHEN ${said} > head OR life <> ${life} THEN 0 ELSE ${said} END
    FROM ${database.table("_store")} WHERE id = 1)`
}

/** One statement that reads everything that an exchange depends on, except the ballots of other voters. */
export const lookUp = (database: Database, exchange: Exchange): Fragment => {
  const { now, sql } = database
  const { casts, swaps, voter } = exchange
  const store = database.table("_store")
  const voters = database.table("_voters")
  const parts = [
    sql`SELECT 'store' AS kind, '' AS name, '' AS box, life AS body, epoch AS a, trimmed AS b, born_at AS c, head AS d,
      burials AS e, swept_at AS f, ${now} AS g, 0 AS h, 0 AS i, 0 AS j FROM ${store} WHERE id = 1`,
    sql`SELECT 'others', '', '', '', heard, COUNT(*), 0, 0, 0, 0, 0, 0, 0, 0 FROM ${voters}
      WHERE ends_at > ${now} AND voter <> ${voter} GROUP BY heard`,
    sql`SELECT 'dead', '', '', '', COUNT(*), 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM ${voters} WHERE ends_at <= ${now}`,
    sql`SELECT 'own', '', '', '', ends_at, heard, life, 0, 0, 0, 0, 0, 0, 0 FROM ${voters} WHERE voter = ${voter}`,
    sql`SELECT * FROM (SELECT 'roll' AS kind, circuit AS name, box, '' AS body, seq, prev, epoch, term, 0 AS e, 0 AS f, 0 AS g,
        0 AS h, 0 AS i, 0 AS j FROM ${database.table("_rolls")}
      WHERE seq > ${validHeard(database, exchange)} AND ends_at > ${now}
      ORDER BY seq LIMIT ${sql.literal(String(limits.rollCalls))}) rolls`
  ]
  const circuits = [...new Set([...casts, ...swaps].map(({ circuit }) => circuit))]
  if (circuits.length > 0) {
    parts.push(sql`SELECT 'record', circuit, '', body, epoch, written_at, COALESCE(ends_at, 0), changed, 0, 0, 0, 0, 0, 0
      FROM ${database.table("s")} WHERE circuit IN ${sql.in(circuits)}`)
  }
  const ofCasts = [...new Set(casts.map(({ circuit }) => circuit))]
  if (ofCasts.length > 0) {
    parts.push(
      sql`SELECT 'box', circuit, box, sums, epoch, voters, asked_at, roll_seq, roll_at, burials, built_at, valid_until, ends_at, roll_ends_at
        FROM ${database.table("_boxes")} WHERE circuit IN ${sql.in(ofCasts)}`,
      sql`SELECT 'ballot', circuit, box, numbers, epoch, life, ends_at, 0, 0, 0, 0, 0, 0, 0
        FROM ${database.table("_ballots")} WHERE circuit IN ${sql.in(ofCasts)} AND voter = ${voter}`
    )
  }
  return sql.join(" UNION ALL ", false)(parts)
}

export const rollCallOf = (row: SqlRow): RollCall => ({
  seq: toWhole(row["a"]),
  prev: toWhole(row["b"]),
  circuit: String(row["name"]),
  epoch: toWhole(row["c"]),
  box: String(row["box"]),
  term: toWhole(row["d"])
})

const toBox = (row: SqlRow): BallotBox => {
  const sums = numbersOf(String(row["body"]))
  const voters = toWhole(row["b"])
  return {
    circuit: String(row["name"]),
    box: String(row["box"]),
    epoch: toWhole(row["a"]),
    voters,
    sums: sums ?? [],
    askedAt: toWhole(row["c"]),
    rollSeq: toWhole(row["d"]),
    rollAt: toWhole(row["e"]),
    // Sums that cannot be read are rebuilt.
    burials: sums === undefined && voters > 0 ? -1 : toWhole(row["f"]),
    builtAt: toWhole(row["g"]),
    validUntil: toNumber(row["h"]),
    endsAt: toWhole(row["i"]),
    rollEndsAt: toWhole(row["j"])
  }
}

export const toBallot = (row: SqlRow): VoterBallot => ({
  circuit: String(row["name"]),
  box: String(row["box"]),
  epoch: toWhole(row["a"]),
  life: toWhole(row["b"]),
  numbers: numbersOf(String(row["body"])),
  endsAt: toNumber(row["c"])
})

/** `undefined` if the single row of the store is missing. */
export const lookUpAnswer = (rows: ReadonlyArray<SqlRow>): LookUpAnswer | undefined => {
  const of = <A>(kind: string, f: (row: SqlRow) => A): ReadonlyArray<A> =>
    rows.flatMap((row) => (row["kind"] === kind ? [f(row)] : []))
  const [store] = of("store", (row) => ({
    epoch: toWhole(row["a"]),
    trimmed: toWhole(row["b"]),
    bornAt: toWhole(row["c"]),
    life: String(row["body"]),
    head: toWhole(row["d"]),
    burials: toWhole(row["e"]),
    sweptAt: toWhole(row["f"]),
    time: toNumber(row["g"])
  }))
  if (store === undefined) return undefined
  const rollCalls = of("roll", rollCallOf)
  return {
    ...store,
    others: of("others", (row) => [toWhole(row["a"]), toWhole(row["b"])] as const),
    dead: of("dead", (row) => toWhole(row["a"]))[0] ?? 0,
    own: of("own", (row) => ({ endsAt: toNumber(row["a"]), heard: toWhole(row["b"]), life: toWhole(row["c"]) }))[0],
    records: new Map(
      of("record", (row) => [
        String(row["name"]),
        {
          epoch: toWhole(row["a"]),
          body: String(row["body"]),
          writtenAt: toNumber(row["b"]),
          endsAt: toNumber(row["c"]),
          changed: toNumber(row["d"]) === 1
        }
      ])
    ),
    boxes: of("box", toBox),
    ballots: of("ballot", toBallot),
    rollCalls: [...rollCalls].sort((a, b) => a.seq - b.seq)
  }
}

/** Whether the store was never used, or was emptied by hand. */
export const isNew = ({ bornAt, life }: LookUpAnswer): boolean => bornAt === 0 || life === ""

export const othersOf = ({ others }: LookUpAnswer): number => others.reduce((sum, [, voters]) => sum + voters, 0)
