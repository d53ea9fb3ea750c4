import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { type Changed, limits } from "../store/SharedStore.ts"
import { type DynamoTable, expression, n, queryPages, type RequestError, s } from "./client.ts"
import type { Hub } from "./hub.ts"
import { type CircuitRecord, changesIndex, circuitOf, recordFrom, storedAt } from "./records.ts"

/** How often a process reads all changes again, because an administrator may have deleted items. */
const rereadMillis = 300_000

interface ReadChange {
  readonly circuit: string
  readonly record: CircuitRecord
}

/**
 * Copies the table's index: the latest change of each circuit that is listed, or was listed recently. A process reads the whole index once.
 * Later, the process reads only new entries. Without new changes, a page needs one request, for the hub.
 */
export class Changes {
  private readonly table: DynamoTable
  private readonly lock = Semaphore.makeUnsafe(1)
  private life = ""
  /** The copy contains all changes up to this epoch. */
  private epoch = 0
  private readAt = Number.NEGATIVE_INFINITY
  private trimmed = 0
  /** Ascending by epoch. */
  private all = new Map<string, ReadChange>()

  constructor(table: DynamoTable) {
    this.table = table
  }

  /**
   * Reads the changes up to the epoch of the hub, and then calls `answer`. Other reads wait until `answer` has returned. If a read of several
   * pages fails, the copy keeps the finished pages, and the next read continues after them.
   */
  upTo<A>(hub: Hub, time: number, answer: () => A): Effect.Effect<A, RequestError> {
    return this.lock.withPermits(1)(
      Effect.suspend(() => {
        this.drop(time)
        const isOld = time - this.readAt >= rereadMillis || time < this.readAt
        if (isOld || hub.life !== this.life || hub.epoch < this.epoch) this.begin(hub, time)
        if (hub.epoch <= this.epoch) return Effect.succeed(answer())
        return Effect.map(this.query(this.epoch, hub.epoch), () => {
          const pending = Array.from(hub.pending?.circuits ?? [])
          this.take(pending.flatMap(([circuit, { record }]) => (record?.changed === true ? [{ circuit, record }] : [])))
          this.epoch = hub.epoch
          this.drop(time)
          return answer()
        })
      })
    )
  }

  /** Adds changes to the copy. Their epochs must not be lower than the epochs in the copy. */
  private take(found: Array<ReadChange>): void {
    for (const read of found.sort((a, b) => a.record.epoch - b.record.epoch)) {
      this.all.delete(read.circuit)
      this.all.set(read.circuit, read)
      this.epoch = read.record.epoch
    }
  }

  private begin({ life }: Hub, time: number): void {
    if (life !== this.life) this.trimmed = 0
    this.life = life
    this.epoch = 0
    this.readAt = time
    this.all = new Map()
  }

  private query(from: number, to: number): Effect.Effect<void, RequestError> {
    const query = {
      IndexName: changesIndex,
      KeyConditionExpression: "#pk = :pk AND #e BETWEEN :from AND :to",
      ExpressionAttributeNames: expression("#pk #e"),
      ExpressionAttributeValues: { ":pk": s(this.table.prefix), ":from": n(from + 1), ":to": n(to) }
    }
    return queryPages(this.table, query, (items) =>
      this.take(
        items.flatMap((item) => {
          const record = recordFrom(item)
          return record?.changed === true ? [{ circuit: circuitOf(item), record }] : []
        })
      )
    )
  }

  /** Drops expired records, and records that have been unlisted for an hour: pages do not show them. */
  private drop(time: number): void {
    for (const [circuit, { record }] of this.all) {
      const { at, epoch, listed, until } = record
      if (listed ? time < until : time - at < limits.unlistedMillis) continue
      this.all.delete(circuit)
      this.trimmed = Math.max(this.trimmed, epoch)
    }
  }

  /** The changes after an epoch, ascending. */
  after(since: number, limit: number, time: number): ReadonlyArray<Changed> {
    const found: Array<Changed> = []
    for (const { circuit, record } of this.all.values()) {
      if (found.length === limit) break
      const { epoch, listed } = record
      if (epoch > since) found.push({ circuit, epoch, listed, record: storedAt(record, time) })
    }
    return found
  }

  summary(time: number): { readonly listed: number; readonly trimmed: number } {
    let listed = 0
    for (const { record } of this.all.values()) if (record.listed && time < record.until) listed++
    return { listed, trimmed: this.trimmed }
  }
}
