import type { Fragment, Statement } from "effect/sql/Statement"
import {
  type Cast,
  type CastAnswer,
  type Change,
  type Exchange,
  type ExchangeAnswer,
  limits,
  type RollCall,
  type Stored,
  type Swap,
  type SwapAnswer
} from "../store/SharedStore.ts"
import { type BallotBox, BallotBoxes, endOf } from "./ballotBoxes.ts"
import { type Database, type SqlRow, toNumber, toWhole } from "./database.ts"
import { isNew, type LookUpAnswer, othersOf, toBallot } from "./lookUp.ts"
import type { Recorded } from "./records.ts"

/** How often rows that have ended are deleted, and how many of a table at once. Until then they are ignored. */
const sweepMillis = 5_000
const sweptRows = 500

/** One exchange while it holds the store's lock: its changes and its answer. */
export class Turn {
  readonly announced: Array<Change> = []
  private readonly exchange: Exchange
  private readonly found: LookUpAnswer
  private readonly boxes: BallotBoxes
  private readonly burials: number
  private readonly life: number | undefined
  /** A store that was never used begins a life. */
  private readonly storeLife: string
  private readonly called: Array<RollCall> = []
  private readonly swapped = new Map<string, Recorded & { readonly listed: boolean }>()
  private head: number
  private epoch: number

  constructor(exchange: Exchange, found: LookUpAnswer) {
    const { ttl } = exchange
    const { dead, own, sweptAt, time } = found
    this.exchange = exchange
    this.found = found
    this.head = found.head
    this.epoch = found.epoch
    const lives = own !== undefined && own.endsAt > time
    // A store that was emptied must not give an earlier number again.
    const known = found.bornAt === 0 ? Math.max(found.burials, time * 1_000) : found.burials
    // If the clock went back, ballots may have been deleted that have not ended.
    const someDied = dead > 0 || (lives && ttl <= 0) || sweptAt > time
    this.burials = someDied ? known + 1 : known
    this.life = ttl <= 0 ? undefined : lives ? own.life : this.burials
    this.storeLife = isNew(found) ? globalThis.crypto.randomUUID() : found.life
    const ownHeard = lives && ttl > 0 ? own.heard : -1
    const heard = (seq: number) =>
      isNew(found)
        ? 0
        : found.others.reduce((sum, [up, voters]) => sum + (up >= seq ? voters : 0), ownHeard >= seq ? 1 : 0)
    this.boxes = new BallotBoxes(
      {
        time,
        burials: this.burials,
        life: this.life,
        heard,
        rollCall: (cast) => this.rollCall(cast),
        inquiry: ({ box, circuit, epoch }) => this.announced.push({ _tag: "Inquiry", circuit, epoch, box })
      },
      found.boxes,
      found.ballots
    )
  }

  private rollCall({ box, circuit, epoch, roll }: Cast): RollCall {
    const prev = this.head
    this.head = Math.max(prev + 1, Math.floor(this.found.time * 1_000))
    const rollCall = {
      seq: this.head,
      prev,
      circuit,
      epoch,
      box,
      term: Math.min(Math.ceil(roll), limits.rollCallMillis)
    }
    this.called.push(rollCall)
    this.announced.push({ _tag: "RollCall", ...rollCall })
    return rollCall
  }

  private recordOf(circuit: string): Recorded | undefined {
    const swapped = this.swapped.get(circuit) ?? this.found.records.get(circuit)
    if (swapped === undefined || swapped.epoch === 0) return undefined
    return swapped.endsAt > 0 && swapped.endsAt <= this.found.time ? undefined : swapped
  }

  private stored(circuit: string): Stored | undefined {
    const record = this.recordOf(circuit)
    if (record === undefined) return undefined
    const age = Math.max(0, this.found.time - record.writtenAt)
    return { epoch: record.epoch, body: record.body, age: Number.isFinite(age) ? age : 0 }
  }

  private holds({ circuit, epoch }: Cast): boolean {
    return (this.recordOf(circuit)?.epoch ?? 0) === epoch
  }

  /** The statement that reads the ballots of the boxes whose sums must be rebuilt; `undefined` if there are none. */
  ballotsOf(database: Database): Fragment | undefined {
    const { sql } = database
    const { time } = this.found
    const circuits = [...new Set(this.stale.map(({ circuit }) => circuit))]
    if (circuits.length === 0) return undefined
    // If the voter was not live before this exchange, or leaves, its ballots belong to an earlier life.
    const own = this.life === this.found.own?.life ? sql`` : sql`AND b.voter <> ${this.exchange.voter}`
    return sql`SELECT b.circuit AS name, b.box, b.epoch AS a, b.life AS b, b.ends_at AS c, b.numbers AS body
      FROM ${database.table("_ballots")} b
      JOIN ${database.table("_voters")} v ON v.voter = b.voter AND v.life = b.life AND v.ends_at > ${database.big(time)}
      WHERE b.circuit IN ${sql.in(circuits)} AND b.ends_at > ${database.big(time)} ${own}`
  }

  private get stale(): ReadonlyArray<Cast> {
    return this.exchange.casts.filter((cast) => this.holds(cast) && this.boxes.isStale(cast))
  }

  /** Carries out the exchange, with what {@link ballotsOf} found. */
  carryOut(ballots: ReadonlyArray<SqlRow>): ExchangeAnswer {
    const { casts, swaps, ttl } = this.exchange
    const { bornAt, rollCalls, time } = this.found
    this.boxes.rebuild(this.stale, ballots.map(toBallot))
    const castAnswers = casts.map(
      (cast): CastAnswer => ({
        record: this.stored(cast.circuit),
        tally: this.holds(cast) ? this.boxes.cast(cast) : undefined
      })
    )
    const swapAnswers = swaps.map((swap) => this.swap(swap))
    const { valid } = this
    return {
      _tag: "Done",
      time,
      live: othersOf(this.found) + (ttl > 0 ? 1 : 0),
      liveFor: isNew(this.found) ? 0 : Math.max(0, time - bornAt),
      life: this.storeLife,
      head: this.head,
      rollCalls: [...(isNew(this.found) ? [] : rollCalls), ...this.called]
        .filter(({ seq }) => seq > valid)
        .slice(0, limits.rollCalls),
      casts: castAnswers,
      swaps: swapAnswers
    }
  }

  /** How far the voter has heard the present log. */
  private get valid(): number {
    const { heard, life } = this.exchange
    return life !== this.storeLife || heard > this.head ? 0 : heard
  }

  private swap({ body, circuit, expectedEpoch, listed, ttl }: Swap): SwapAnswer {
    const { time } = this.found
    const current = this.recordOf(circuit)
    if ((current?.epoch ?? 0) !== expectedEpoch) return { swapped: false, record: this.stored(circuit) }
    const floor = toWhole(this.exchange.floor)
    this.epoch = Math.max(this.epoch, floor, Math.floor(time * 1_000)) + 1
    const was = this.swapped.get(circuit) ?? this.found.records.get(circuit)
    const endsAt = ttl === undefined || ttl === Infinity ? 0 : endOf(time, ttl)
    const changed = listed || was?.changed === true
    this.swapped.set(circuit, { epoch: this.epoch, body, writtenAt: time, endsAt, changed, listed })
    this.announced.push({ _tag: "Record", circuit, epoch: this.epoch, body })
    return { swapped: true, record: { epoch: this.epoch, body, age: 0 } }
  }

  /** No two of these statements may write the same row; see `Database.runTogether`. */
  writes(database: Database): ReadonlyArray<Statement<object>> {
    const { sql } = database
    const { digest, ttl, voter } = this.exchange
    const { dead, own, time } = this.found
    const all: Array<Statement<object>> = []
    const { ballots, boxes } = this.boxes.written((circuit) => this.swapped.has(circuit))
    if (ttl > 0) {
      // A voter that has lived until now keeps its digest.
      const keeps = digest === undefined && own !== undefined && own.life === this.life
      const row = { voter, life: this.life, heard: this.valid, ends_at: endOf(time, ttl) }
      const whole = keeps ? row : { ...row, digest: digest ?? null }
      const { voter: _, ...columns } = whole
      all.push(sql`${database.insert("_voters", [whole])}
        ${database.onConflict(["voter"], Object.keys(columns))}`)
    } else {
      all.push(sql`DELETE FROM ${database.table("_voters")} WHERE voter = ${voter}`)
    }
    if (dead > 0) all.push(database.deleteSome("_voters", sql`ends_at <= ${time} AND voter <> ${voter}`, sweptRows))
    if (ballots.length > 0) {
      const rows = ballots.map(({ box, circuit, endsAt, epoch, life, numbers = [] }) => {
        return { circuit, voter, box, epoch, life, numbers: numbers.join(","), ends_at: endsAt }
      })
      all.push(sql`${database.insert("_ballots", rows)}
        ${database.onConflict(["circuit", "voter", "box"], ["epoch", "life", "numbers", "ends_at"])}`)
    }
    if (boxes.length > 0) all.push(writeBoxes(database, boxes))
    if (this.swapped.size > 0) {
      const circuits = [...this.swapped.keys()]
      for (const table of ["_ballots", "_boxes"] as const) {
        all.push(sql`DELETE FROM ${database.table(table)} WHERE circuit IN ${sql.in(circuits)}`)
      }
      all.push(this.writeRecords(database))
    }
    if (this.called.length > 0) {
      const rows = this.called.map((one) => ({ ...one, ends_at: time + one.term + limits.logMillis }))
      all.push(database.insert("_rolls", rows))
    }
    return all
  }

  /** The statements that begin a new life of the store, in which no roll call has been heard. They come before all other writes. */
  begins(database: Database): ReadonlyArray<Statement<object>> {
    const { sql } = database
    if (!isNew(this.found)) return []
    return [sql`DELETE FROM ${database.table("_rolls")}`, sql`UPDATE ${database.table("_voters")} SET heard = 0`]
  }

  private writeRecords(database: Database): Statement<object> {
    const { time } = this.found
    const rows = [...this.swapped].map(([circuit, { body, changed, endsAt, epoch, listed }]) => {
      // Pages show for a while that a circuit is no longer listed.
      const shown = changed && !listed ? time + limits.unlistedMillis : 0
      return {
        circuit,
        epoch,
        body,
        listed: listed ? 1 : 0,
        changed: changed ? 1 : 0,
        written_at: time,
        ends_at: endsAt === 0 ? null : endsAt,
        gone_at: endsAt === 0 ? null : Math.max(endsAt, shown)
      }
    })
    return database.sql`${database.insert("s", rows)}
      ${database.onConflict(["circuit"], ["epoch", "body", "listed", "changed", "written_at", "ends_at", "gone_at"])}`
  }

  get isSweeping(): boolean {
    const { sweptAt, time } = this.found
    return sweptAt > time || time - sweptAt >= sweepMillis
  }

  /** The statements that delete rows that have ended, except records. */
  sweeps(database: Database): ReadonlyArray<Statement<object>> {
    const { sql } = database
    const { time } = this.found
    return [
      database.deleteSome("_ballots", sql`ends_at <= ${time}`, sweptRows),
      database.deleteSome("_boxes", sql`ends_at <= ${time}`, sweptRows),
      database.deleteSome("_rolls", sql`ends_at <= ${time}`, sweptRows)
    ]
  }

  goneRecords(database: Database): Fragment {
    const { sql } = database
    return sql`SELECT circuit, epoch, changed FROM ${database.table("s")} WHERE gone_at <= ${this.found.time}
      ORDER BY gone_at LIMIT ${sql.literal(String(sweptRows))}`
  }

  /** The statement that writes the single row of the store, if the row has changed. `gone` are the records that were deleted. */
  writeStore(database: Database, gone: ReadonlyArray<SqlRow>): ReadonlyArray<Statement<object>> {
    const { bornAt, sweptAt, time } = this.found
    const trimmed = gone.map((row) => (toNumber(row["changed"]) === 1 ? toWhole(row["epoch"]) : 0))
    const next = {
      epoch: this.epoch,
      trimmed: Math.max(this.found.trimmed, ...trimmed),
      born_at: isNew(this.found) ? time : bornAt,
      life: this.storeLife,
      head: this.head,
      burials: this.burials,
      swept_at: this.isSweeping ? time : sweptAt
    }
    const { burials, epoch, head } = this.found
    const isChanged =
      isNew(this.found) || this.isSweeping || epoch !== next.epoch || head !== next.head || burials !== next.burials
    const { sql } = database
    return isChanged ? [sql`UPDATE ${database.table("_store")} SET ${sql.update(next)} WHERE id = 1`] : []
  }
}

const writeBoxes = (database: Database, boxes: ReadonlyArray<BallotBox>) => {
  const rows = boxes.map((one) => ({
    circuit: one.circuit,
    box: one.box,
    epoch: one.epoch,
    voters: one.voters,
    sums: one.sums.join(","),
    asked_at: one.askedAt,
    roll_seq: one.rollSeq,
    roll_at: one.rollAt,
    roll_ends_at: one.rollEndsAt,
    burials: one.burials,
    built_at: one.builtAt,
    valid_until: one.validUntil,
    ends_at: one.endsAt
  }))
  const { box: _, circuit: __, ...columns } = rows[0] ?? { box: "", circuit: "" }
  return database.sql`${database.insert("_boxes", rows)}
    ${database.onConflict(["circuit", "box"], Object.keys(columns))}`
}
