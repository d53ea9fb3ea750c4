import * as Effect from "effect/Effect"
import { type AwsPackage, type DynamoClient, load, nameOf, RequestError } from "./client.ts"
import { changesIndex, indexed } from "./records.ts"

/** How long a new table may take to become active, and how often it is looked at. */
const activeWithinMillis = 120_000
const lookMillis = 500

/** What `createTable` sends; the docs show the same as a template of CloudFormation. */
export const definition = (table: string) => ({
  TableName: table,
  BillingMode: "PAY_PER_REQUEST" as const,
  KeySchema: [
    { AttributeName: "pk", KeyType: "HASH" as const },
    { AttributeName: "sk", KeyType: "RANGE" as const }
  ],
  AttributeDefinitions: [
    { AttributeName: "pk", AttributeType: "S" as const },
    { AttributeName: "sk", AttributeType: "S" as const },
    { AttributeName: "e", AttributeType: "N" as const }
  ],
  LocalSecondaryIndexes: [
    {
      IndexName: changesIndex,
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" as const },
        { AttributeName: "e", KeyType: "RANGE" as const }
      ],
      Projection: { ProjectionType: "INCLUDE" as const, NonKeyAttributes: indexed }
    }
  ]
})

/** The attribute after which DynamoDB deletes an item. */
export const ttlAttribute = "x"

const is = (name: string) => (error: unknown) => error instanceof RequestError && nameOf(error.cause) === name

export const createTable = (client: DynamoClient, table: string): Effect.Effect<void, RequestError> =>
  Effect.gen(function* () {
    const aws = yield* loaded
    const send = (command: unknown) =>
      Effect.tryPromise({
        try: (abortSignal) => client.send(command, { abortSignal }),
        catch: (cause) => new RequestError({ cause })
      })
    yield* Effect.catchIf(
      send(new aws.CreateTableCommand(definition(table))),
      is("ResourceInUseException"),
      () => Effect.void
    )
    // DynamoDB may not know a new table for a moment.
    const isActive = Effect.catchIf(
      Effect.map(
        send(new aws.DescribeTableCommand({ TableName: table })),
        ({ Table }): boolean => Table?.TableStatus === "ACTIVE"
      ),
      is("ResourceNotFoundException"),
      () => Effect.succeed(false)
    )
    for (let waited = 0; !(yield* isActive); waited += lookMillis) {
      if (waited >= activeWithinMillis) {
        return yield* new RequestError({ cause: new Error(`the table ${table} does not become active`) })
      }
      yield* Effect.sleep(lookMillis)
    }
    yield* expiring(send, aws, table)
  })

/** Lets DynamoDB delete items that have ended. Emulators may not know the request; a table that has it already answers with an error. */
const expiring = (
  send: (command: unknown) => Effect.Effect<unknown, RequestError>,
  aws: AwsPackage,
  table: string
): Effect.Effect<void, RequestError> => {
  const command = new aws.UpdateTimeToLiveCommand({
    TableName: table,
    TimeToLiveSpecification: { AttributeName: ttlAttribute, Enabled: true }
  })
  const isFine = (error: RequestError) =>
    is("UnknownOperationException")(error) || /TimeToLive is already enabled/.test(String(error.cause))
  return Effect.asVoid(Effect.catchIf(send(command), isFine, () => Effect.void))
}

/** The AWS client's package. A program that has a client has the package. */
export const loaded: Effect.Effect<AwsPackage> = Effect.orDie(
  Effect.tryPromise({ try: load, catch: (error) => error as Error })
)
