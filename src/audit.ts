/**
 * What circuits did, written down in a database.
 *
 * - `AuditTrail`: every transition and override, and the questions that they answer.
 *
 * @since 0.1.0
 */
export * as AuditTrail from "./audit/AuditTrail.ts"
