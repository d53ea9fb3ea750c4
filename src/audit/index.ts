/**
 * What circuits did, written down in a database.
 *
 * - `AuditTrail`: every transition and override, and the questions that they answer.
 * - `Snapshots`: what had been counted, over time.
 *
 * @since 0.1.0
 */
export * as AuditTrail from "./AuditTrail.ts"
export * as Snapshots from "./Snapshots.ts"
