import * as Effect from "effect/Effect"
import { type AwsPackage, type DynamoClient, load, nameOf, RequestError, type TableDescription } from "./client.ts"
import { changesIndex, indexed } from "./records.ts"

/** A new table must become active within this time. The second value is the delay between two checks. */
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

/** Sends a command about a table. */
const sent = <A>(
  client: DynamoClient,
  command: unknown,
  read: (answer: { readonly Table?: TableDescription; readonly TimeToLiveDescription?: TimeToLive }) => A
): Effect.Effect<A, RequestError> =>
  Effect.map(
    Effect.tryPromise({
      try: (abortSignal) => client.send(command, { abortSignal }),
      catch: (cause) => new RequestError({ cause })
    }),
    read
  )

export const describeTable = (
  client: DynamoClient,
  aws: AwsPackage,
  table: string
): Effect.Effect<TableDescription, RequestError> =>
  sent(client, new aws.DescribeTableCommand({ TableName: table }), ({ Table = {} }) => Table)

interface TimeToLive {
  readonly AttributeName?: string | undefined
  readonly TimeToLiveStatus?: string | undefined
}

/** Reads the name of the expiry attribute. Returns `undefined` if DynamoDB does not delete expired items. */
export const expiryOf = (
  client: DynamoClient,
  aws: AwsPackage,
  table: string
): Effect.Effect<string | undefined, RequestError> =>
  sent(client, new aws.DescribeTimeToLiveCommand({ TableName: table }), ({ TimeToLiveDescription: found }) =>
    found?.TimeToLiveStatus?.startsWith("ENABL") === true ? found.AttributeName : undefined
  )

/** Whether the server does not know a request. Some emulators do not support all requests. */
export const isUnknownRequest = is("UnknownOperationException")

// ---- Problems -------------------------------------------------------------------------------------------------------

interface Key {
  readonly AttributeName?: string | undefined
  readonly KeyType?: string | undefined
}

/** Formats the keys of a table or an index, for messages and comparisons: `pk (S), sk (S)`. */
const keysText = (
  keys: ReadonlyArray<Key> = [],
  attributes: ReadonlyArray<{
    readonly AttributeName?: string | undefined
    readonly AttributeType?: string | undefined
  }>
): string => {
  const types = new Map(attributes.map(({ AttributeName, AttributeType }) => [AttributeName, AttributeType]))
  const ordered = [...keys].sort(({ KeyType: a = "" }, { KeyType: b = "" }) => (a < b ? -1 : 1))
  return ordered.map(({ AttributeName }) => `${AttributeName} (${types.get(AttributeName)})`).join(", ")
}

/** Lists the differences from the definition that make the table unusable. DynamoDB cannot change these properties. */
export const tableProblems = (found: TableDescription): ReadonlyArray<string> => {
  const wanted = definition("")
  const { AttributeDefinitions: attributes = [], LocalSecondaryIndexes: indexes = [] } = found
  const differs = (what: string, has: ReadonlyArray<Key> | undefined, needs: ReadonlyArray<Key>) => {
    const [is, expected] = [keysText(has, attributes), keysText(needs, wanted.AttributeDefinitions)]
    return is === expected ? [] : [`${what}: expected the keys ${expected}, got ${is}`]
  }
  const ofIndexes = wanted.LocalSecondaryIndexes.flatMap(({ IndexName, KeySchema, Projection }) => {
    const what = `the index "${IndexName}"`
    const index = indexes.find((one) => one.IndexName === IndexName)
    if (index === undefined) return [`${what} is missing`]
    const { NonKeyAttributes: has = [], ProjectionType } = index.Projection ?? {}
    const lacks = ProjectionType === "ALL" ? [] : Projection.NonKeyAttributes.filter((one) => !has.includes(one))
    return [
      ...differs(what, index.KeySchema, KeySchema),
      ...(lacks.length === 0 ? [] : [`${what} does not contain ${lacks.join(", ")}`])
    ]
  })
  return [...differs("the table", found.KeySchema, wanted.KeySchema), ...ofIndexes]
}

// ---- Creation -------------------------------------------------------------------------------------------------------

export const createTable = (client: DynamoClient, table: string): Effect.Effect<void, RequestError> =>
  Effect.gen(function* () {
    const aws = yield* loaded
    const create = sent(client, new aws.CreateTableCommand(definition(table)), () => {})
    yield* Effect.catchIf(create, is("ResourceInUseException"), () => Effect.void)
    // For a moment, DynamoDB may answer that a new table does not exist.
    const described = Effect.catchIf(
      describeTable(client, aws, table),
      is("ResourceNotFoundException"),
      (): Effect.Effect<TableDescription> => Effect.succeed({})
    )
    let found = yield* described
    for (let waited = 0; found.TableStatus !== "ACTIVE"; waited += checkMillis) {
      if (waited >= activeWithinMillis) {
        return yield* new RequestError({ cause: new Error(`the table ${table} does not become active`) })
      }
      yield* Effect.sleep(checkMillis)
      found = yield* described
    }
    const problems = tableProblems(found)
    if (problems.length > 0) {
      const cause = new Error(`the table ${table} exists and cannot be used: ${problems.join("; ")}`)
      return yield* new RequestError({ cause })
    }
    yield* expiring(client, aws, table)
  })

/** Lets DynamoDB delete expired items. DynamoDB refuses the request if the setting is already on. */
const expiring = (client: DynamoClient, aws: AwsPackage, table: string): Effect.Effect<void, RequestError> => {
  const command = new aws.UpdateTimeToLiveCommand({
    TableName: table,
    TimeToLiveSpecification: { AttributeName: ttlAttribute, Enabled: true }
  })
  const isFine = (error: RequestError) =>
    isUnknownRequest(error) || /TimeToLive is already enabled/.test(String(error.cause))
  return Effect.catchIf(
    sent(client, command, () => {}),
    isFine,
    () => Effect.void
  )
}

/** The package of the AWS client. A missing package is a defect, because the caller has a client from it. */
export const loaded: Effect.Effect<AwsPackage> = Effect.promise(load)
