import * as Effect from "effect/Effect"
import type { AwsPackage, DynamoClient, TableDescription } from "../dynamo/client.ts"
import { describeTable, expiryOf, isUnknownRequest, tableProblems, ttlAttribute } from "../dynamo/table.ts"
import { type Finding, fail, ok, warn } from "./findings.ts"
import type { CommandFailure } from "./messages.ts"
import { type AskServer, isForbidden } from "./server.ts"

/** Compares a table with the definition of `DynamoStore.createTable`. */
export const checkTable = (
  client: DynamoClient,
  aws: AwsPackage,
  table: string,
  ask: AskServer
): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.matchEffect(ask(describeTable(client, aws, table)), {
    onFailure: (failure) => Effect.succeed([unread("table", "dynamodb:DescribeTable", failure)]),
    onSuccess: (found) => Effect.map(expiryCheck(client, aws, table, ask), (expiry) => [tableCheck(found), expiry])
  })

/** Reports a failed read. If the user lacks the right to read this, processes still work, so the finding is only a warning. */
const unread = (check: string, right: string, { advice, message }: CommandFailure): Finding =>
  isForbidden(message)
    ? warn(check, message, `Allow ${right}, or ignore this if the other checks pass.`)
    : fail(check, message, advice ?? "Find out why DynamoDB does not describe the table.")

const tableCheck = (found: TableDescription): Finding => {
  const problems = tableProblems(found)
  if (problems.length > 0) {
    return fail(
      "table",
      problems.join("; "),
      "DynamoDB cannot change this. Create another table with DynamoStore.createTable."
    )
  }
  const regions = (found.Replicas ?? []).map(({ RegionName }) => RegionName)
  if (regions.length > 0) {
    return warn(
      "table",
      `a global table, with replicas in ${regions.join(", ")}`,
      "Concurrent writes in two regions overwrite each other. Use a table in one region."
    )
  }
  const { ReadCapacityUnits: reads = 0, WriteCapacityUnits: writes = 0 } = found.ProvisionedThroughput ?? {}
  const capacity =
    reads + writes === 0 ? "billed per request" : `provisioned for ${reads} read units and ${writes} write units`
  return ok("table", `its keys and its index are right; ${capacity}`)
}

const expiryCheck = (client: DynamoClient, aws: AwsPackage, table: string, ask: AskServer): Effect.Effect<Finding> => {
  const how = `Turn on time to live with the attribute "${ttlAttribute}".`
  const read = Effect.map(expiryOf(client, aws, table), (attribute) => {
    if (attribute === ttlAttribute) return ok("expiry", "DynamoDB deletes expired items")
    return attribute === undefined
      ? warn("expiry", "DynamoDB does not delete expired items", `Circuits work, but the table grows. ${how}`)
      : warn("expiry", `DynamoDB deletes items by the attribute "${attribute}"`, `The store needs another one. ${how}`)
  })
  const known = Effect.catchIf(read, isUnknownRequest, () =>
    Effect.succeed(ok("expiry", "this emulator has no time to live; reads ignore expired items"))
  )
  return Effect.catch(ask(known), (failure) => Effect.succeed(unread("expiry", "dynamodb:DescribeTimeToLive", failure)))
}
