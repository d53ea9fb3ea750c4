import * as Effect from "effect/Effect"
import { type AwsPackage, type DynamoClient, load, nameOf, RequestError } from "./client.ts"
import { changesIndex, indexed } from "./records.ts"

/** The longest wait for a new table to become active, and the delay between two checks. */
const activeWithinMillis = 120_000
const checkMillis = 500

/** The request of `createTable`. The docs have the same definition as a CloudFormation template. */
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
    // For a moment, DynamoDB may answer that a new table does not exist.
    const described: Effect.Effect<Description | undefined, RequestError> = Effect.catchIf(
      Effect.map(send(new aws.DescribeTableCommand({ TableName: table })), ({ Table }) => Table),
      is("ResourceNotFoundException"),
      () => Effect.succeed(undefined)
    )
    const failed = (what: string) => new RequestError({ cause: new Error(`the table ${table} ${what}`) })
    let found = yield* described
    for (let waited = 0; found?.TableStatus !== "ACTIVE"; waited += checkMillis) {
      if (waited >= activeWithinMillis) return yield* failed("does not become active")
      yield* Effect.sleep(checkMillis)
      found = yield* described
    }
    const difference = differenceOf(found)
    if (difference !== undefined) return yield* failed(`exists, and ${difference}. Use another name`)
    yield* expiring(send, aws, table)
  })

/** The parts of a table's description that this file reads. */
interface Description {
  readonly TableStatus?: string
  readonly KeySchema?: Keys
  readonly AttributeDefinitions?: ReadonlyArray<{ readonly AttributeName?: string; readonly AttributeType?: string }>
  readonly LocalSecondaryIndexes?: ReadonlyArray<{
    readonly IndexName?: string
    readonly KeySchema?: Keys
    readonly Projection?: { readonly ProjectionType?: string; readonly NonKeyAttributes?: ReadonlyArray<string> }
  }>
}
type Keys = ReadonlyArray<{ readonly AttributeName?: string; readonly KeyType?: string }>

/** The keys of a table or of an index with their types, such as `pk (S), sk (S)`. */
const keysOf = (keys: Keys = [], { AttributeDefinitions = [] }: Description): string =>
  ["HASH", "RANGE"]
    .flatMap((type) => keys.find(({ KeyType }) => KeyType === type)?.AttributeName ?? [])
    .map((name) => `${name} (${AttributeDefinitions.find((one) => one.AttributeName === name)?.AttributeType})`)
    .join(", ")

/** Why a table that already exists cannot contain circuits. */
const differenceOf = (found: Description): string | undefined => {
  const keys = keysOf(found.KeySchema, found)
  if (keys !== "pk (S), sk (S)") return `its key is ${keys} instead of pk (S), sk (S)`
  const index = found.LocalSecondaryIndexes?.find(({ IndexName }) => IndexName === changesIndex)
  if (index === undefined) return `it has no local index ${changesIndex}`
  const ofIndex = keysOf(index.KeySchema, found)
  if (ofIndex !== "pk (S), e (N)") return `the key of its index ${changesIndex} is ${ofIndex} instead of pk (S), e (N)`
  const { NonKeyAttributes = [], ProjectionType } = index.Projection ?? {}
  const lacking = ProjectionType === "ALL" ? [] : indexed.filter((name) => !NonKeyAttributes.includes(name))
  return lacking.length === 0 ? undefined : `its index ${changesIndex} lacks the attributes ${lacking.join(", ")}`
}

/** Lets DynamoDB delete expired items. Some emulators do not support the request, and DynamoDB refuses it if the setting is already on. */
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

/** The package of the AWS client. A missing package is a defect, because the caller has a client from it. */
export const loaded: Effect.Effect<AwsPackage> = Effect.promise(load)
