import { createRequire } from "node:module"
import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { Effect, type Scope } from "effect"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { type OwnServer, ownServer } from "./ownServer.ts"

const emulator = createRequire(import.meta.url).resolve("dynalite/cli.js")

/** Runs an emulator of DynamoDB in its own process until the scope closes. Its tables are files, so the tables survive a kill. */
export const dynamoServer: Effect.Effect<OwnServer, never, Scope.Scope> = ownServer({
  title: "DynamoDB",
  programs: () => Promise.resolve(undefined),
  user: () => ({}),
  serve: (_, folder, port) => [
    process.execPath,
    [
      ...[emulator, "--host", "127.0.0.1", "--port", String(port), "--path", `${folder}/tables`],
      ...["--createTableMs", "0", "--deleteTableMs", "0"]
    ]
  ],
  ready: /listening at/,
  signal: "SIGKILL",
  url: (port) => `http://127.0.0.1:${port}`
})

/** Opens a client of the AWS SDK until the scope closes. */
export const dynamoClient = (endpoint: string, maxAttempts = 2): Effect.Effect<DynamoDBClient, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(
      () =>
        new DynamoDBClient({
          endpoint,
          region: "eu-central-1",
          credentials: { accessKeyId: "key", secretAccessKey: "secret" },
          maxAttempts
        })
    ),
    (client) => Effect.sync(() => client.destroy())
  )

export const circuitsTable = "circuits"

/** An emulator with an empty table. */
export const dynamoTable: Effect.Effect<OwnServer, never, Scope.Scope> = Effect.gen(function* () {
  const server = yield* dynamoServer
  const client = yield* dynamoClient(server.url)
  yield* Effect.orDie(DynamoStore.createTable({ client, table: circuitsTable }))
  return server
})
