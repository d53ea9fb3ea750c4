import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type Identity, type Known, read, type Unreadable } from "./known.ts"
import { limits, type SharedStore, type Stored, type StoreError } from "./SharedStore.ts"

export interface ListedRecord extends Stored {
  readonly circuit: string
}

/** All listed records, read page by page, and the number of live processes. */
export const listedRecords = (
  store: SharedStore,
  since = 0
): Effect.Effect<{ readonly records: ReadonlyArray<ListedRecord>; readonly live: number }, StoreError> =>
  Effect.flatMap(store.page(since, limits.page), ({ changes, live }) => {
    const records = changes.flatMap(({ circuit, listed, record }) =>
      listed && record !== undefined ? [{ ...record, circuit }] : []
    )
    if (changes.length < limits.page) return Effect.succeed({ records, live })
    // A record that changes during the reads appears again on a later page.
    return Effect.map(listedRecords(store, changes.at(-1)?.epoch), (more) => {
      const again = new Set(more.records.map(({ circuit }) => circuit))
      return { records: [...records.filter(({ circuit }) => !again.has(circuit)), ...more.records], live: more.live }
    })
  })

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export const byName = (a: Identity, b: Identity): number => compare(a.name, b.name) || compare(a.key ?? "", b.key ?? "")

/** The circuits that the store lists, sorted by name and key, and the number of live processes. */
export const listed = (
  store: SharedStore
): Effect.Effect<{ readonly circuits: ReadonlyArray<Known | Unreadable>; readonly processes: number }, StoreError> =>
  Effect.map(Effect.all([listedRecords(store), Clock.currentTimeMillis]), ([{ live, records }, now]) => ({
    circuits: records.map(({ circuit, ...stored }) => read(circuit, stored, now)).sort(byName),
    processes: live
  }))
