import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { SharedStoreContract } from "effect-fuse/testing"
import { circuitsTable, dynamoClient, dynamoTable } from "./support/dynamoServer.ts"
import { madeBefore, ofFile } from "./support/ofFile.ts"

const server = madeBefore(ofFile(dynamoTable))

/** Makes the store of another process. Each store has its own client. */
const open = Effect.gen(function* () {
  const client = yield* dynamoClient((yield* server).url)
  return yield* DynamoStore.make({ client, table: circuitsTable, prefix: "contract" })
})

describe("DynamoDB keeps the contract", () => {
  for (const { name, test } of SharedStoreContract.cases(open, { announces: false, patience: 20_000 }))
    it.live(name, () => Effect.scoped(test), 120_000)
})
