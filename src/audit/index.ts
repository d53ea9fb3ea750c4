/**
 * A record of what circuits did, in a database.
 *
 * - `AuditTrail`: every transition and override, and queries on them.
 * - `Snapshots`: the counters of circuits over time.
 */
export * as AuditTrail from "./AuditTrail.ts"
export * as Snapshots from "./Snapshots.ts"
