/** What a trail makes of what happened in a simulation: all its processes write to one, each what it did itself. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { AuditTrail } from "effect-fuse/audit"
import { Trail } from "../../../src/audit/trail.ts"
import { database } from "../../../src/sql/database.ts"
import { sqlite } from "../sqlite.ts"
import type { Entry, History } from "./history.ts"

type Life = Pick<Entry, "process" | "life">

const lifeOf = ({ life, process }: Life): string => `${process}/${life}`

/** How each life of a process is called in the fleet. */
const voters = (history: History): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  for (const entry of history.of("Sent")) {
    if (entry.request.operation === "exchange") found.set(lifeOf(entry), entry.request.exchange.voter)
  }
  return found
}

export interface Told {
  /** States that are not Closed, as `state owner`; the fleet has no owner. */
  readonly standing: ReadonlyArray<string>
  /** For how long the fleet was down, by the beginning of the outage. */
  readonly outages: ReadonlyMap<number, number>
}

/** Plays the events of a history into a trail. What a crashed process had of its own is over, as after a while. */
export const trailOf = (history: History): Effect.Effect<Told> =>
  Effect.gen(function* () {
    const found = yield* database({ prefix: "audit", schema: undefined })
    const sql = yield* SqlClient.SqlClient
    const own = voters(history)
    const trails = new Map<string, Trail>()
    for (const entry of history.entries) {
      const life = lifeOf(entry)
      const trail =
        trails.get(life) ??
        new Trail(found, { run: life, process: life, metadata: () => null, flushMillis: 0, maxPending: 1_000 })
      if (entry._tag === "Event") {
        trails.set(life, trail)
        trail.note(entry.event, own.get(life))
        yield* trail.flush
      } else if (entry._tag === "Ended" && trails.has(life)) yield* trail.leave
      else if (entry._tag === "Crashed") yield* sql`DELETE FROM audit_heartbeats WHERE owner = ${life}`
    }
    const standing = (yield* Effect.all([AuditTrail.failing, AuditTrail.forced])).flat()
    const ended = yield* sql`SELECT outage, MIN(down_for) AS down FROM audit_events
      WHERE down_for IS NOT NULL AND outage NOT LIKE '%~%' AND outage NOT LIKE '%-%-%' GROUP BY outage`
    return {
      standing: standing.map(({ owner, state }) => (owner === undefined ? state : `${state} ${owner}`)),
      outages: new Map(ended.map((row) => [Number(row["outage"]), Number(row["down"])]))
    }
  }).pipe(
    Effect.provide(Layer.provideMerge(Layer.orDie(AuditTrail.layerReader({ prefix: "audit" })), sqlite(":memory:"))),
    Effect.orDie
  )
