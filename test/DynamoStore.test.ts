import {
  BatchGetItemCommand,
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTableCommand,
  type DynamoDBClient,
  type KeySchemaElement,
  type TableDescription
} from "@aws-sdk/client-dynamodb"
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Layer, Logger, Scope } from "effect"
import { type BreakerStore, CircuitBreaker } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { afterEach, vi } from "vitest"
import { definition, tableProblems } from "../src/dynamo/table.ts"
import { circuitsTable, dynamoClient, dynamoTable } from "./support/dynamoServer.ts"
import { exchanged, swap, swapOf } from "./support/exchanges.ts"
import { ofFile } from "./support/ofFile.ts"
import { type Replica, standsAt } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"

const server = ofFile(dynamoTable)
const table = circuitsTable

afterEach(() => {
  vi.unstubAllEnvs()
})

const replica = <E>(layer: Layer.Layer<BreakerStore.BreakerStore, E>) =>
  Effect.map(
    Layer.build(layer),
    (context): Replica => ({
      run: (effect) => Effect.provideContext(effect, context),
      end: Effect.void
    })
  )

describe("DynamoStore", () => {
  it("takes the client of AWS", () => {
    expectTypeOf<DynamoDBClient>().toMatchTypeOf<DynamoStore.DynamoClient>()
  })

  live(
    "shares circuits only with processes that use the same table and prefix",
    Effect.gen(function* () {
      const client = yield* dynamoClient((yield* server).url)
      const on = (prefix: string) =>
        replica(DynamoStore.layer({ client, table, prefix, syncInterval: 200, pollInterval: 200 }))
      const [a, b, other] = [yield* on("shop"), yield* on("shop"), yield* on("bank")]
      yield* a.run(CircuitBreaker.isolate("api", { reason: "drill" }))
      yield* standsAt([a, b], "Isolated (fleet)")
      yield* Effect.sleep(500)
      yield* standsAt([other], "Closed (local)")
    })
  )

  live(
    "creates its table once, even if two programs create it concurrently",
    Effect.gen(function* () {
      const client = yield* dynamoClient((yield* server).url)
      const create = DynamoStore.createTable({ client, table: "another" })
      yield* Effect.all([create, create], { concurrency: 2 })
      yield* create
      const { Table } = yield* Effect.promise(() => client.send(new DescribeTableCommand({ TableName: "another" })))
      assert.deepStrictEqual(
        [Table?.TableStatus, Table?.LocalSecondaryIndexes?.map(({ IndexName }) => IndexName)],
        ["ACTIVE", ["changes"]]
      )
    })
  )

  live(
    "waits for a new table that DynamoDB does not find immediately",
    Effect.gen(function* () {
      const aws = yield* dynamoClient((yield* server).url)
      let asked = 0
      const client: DynamoStore.DynamoClient = {
        send: (command, options) =>
          command instanceof DescribeTableCommand && ++asked === 1
            ? Promise.reject(Object.assign(new Error("not found"), { name: "ResourceNotFoundException" }))
            : aws.send(command, options)
      }
      yield* DynamoStore.createTable({ client, table: "a-third" })
      assert.strictEqual(asked, 2)
    })
  )

  const key = (...names: ReadonlyArray<string>): Array<KeySchemaElement> =>
    names.map((AttributeName, index) => ({ AttributeName, KeyType: index === 0 ? "HASH" : "RANGE" }))
  const others: ReadonlyArray<readonly [what: string, definition: Partial<CreateTableCommandInput>, problem: RegExp]> =
    [
      [
        "with another key",
        { KeySchema: key("id", "sk") },
        /exists and cannot be used: the table: expected the keys pk \(S\), sk \(S\), got id \(S\), sk \(S\)/
      ],
      ["without a sort key", { KeySchema: key("pk") }, /expected the keys pk \(S\), sk \(S\), got pk \(S\); /],
      ["without an index", { KeySchema: key("pk", "sk") }, /exists and cannot be used: the index "changes" is missing/],
      [
        "with another index",
        {
          KeySchema: key("pk", "sk"),
          LocalSecondaryIndexes: [
            { IndexName: "changes", KeySchema: key("pk", "epoch"), Projection: { ProjectionType: "ALL" } }
          ]
        },
        /the index "changes": expected the keys pk \(S\), e \(N\), got pk \(S\), epoch \(S\)/
      ]
    ]
  const attributesOf = ({ KeySchema = [], LocalSecondaryIndexes = [] }: Partial<CreateTableCommandInput>) =>
    new Set(
      [...KeySchema, ...LocalSecondaryIndexes.flatMap(({ KeySchema = [] }) => KeySchema)].map(
        (one) => one.AttributeName
      )
    )
  const created = (client: DynamoDBClient, TableName: string, definition: Partial<CreateTableCommandInput>) =>
    Effect.promise(async () => {
      await client.send(
        new CreateTableCommand({
          TableName,
          BillingMode: "PAY_PER_REQUEST",
          AttributeDefinitions: [...attributesOf(definition)].map((AttributeName) => ({
            AttributeName,
            AttributeType: AttributeName === "e" ? "N" : "S"
          })),
          ...definition
        } as CreateTableCommandInput)
      )
      const status = async () => (await client.send(new DescribeTableCommand({ TableName }))).Table?.TableStatus
      while ((await status()) !== "ACTIVE") await new Promise((resolve) => setTimeout(resolve, 5))
    })

  for (const [what, definition, problem] of others) {
    live(
      `rejects a table ${what} from another program: createTable says what differs`,
      Effect.gen(function* () {
        const client = yield* dynamoClient((yield* server).url)
        const name = what.replaceAll(" ", "-")
        yield* created(client, name, definition)
        const error = yield* Effect.flip(DynamoStore.createTable({ client, table: name }))
        assert.match(error.message, problem)
      })
    )
  }

  live(
    "accepts a table from another program if its index has all attributes",
    Effect.gen(function* () {
      const client = yield* dynamoClient((yield* server).url)
      yield* created(client, "all-attributes", {
        KeySchema: key("pk", "sk"),
        LocalSecondaryIndexes: [
          { IndexName: "changes", KeySchema: key("pk", "e"), Projection: { ProjectionType: "ALL" } }
        ]
      })
      yield* DynamoStore.createTable({ client, table: "all-attributes" })
    })
  )

  const refusals: ReadonlyArray<readonly [what: string, table: string, message: string]> = [
    [
      "a missing table",
      "missing",
      "The store failed to page: the table missing does not exist in this region of this account (Requested resource not found)"
    ],
    [
      "a table with another key",
      "unlike",
      "The store failed to page: the table unlike has other keys than pk and sk: use a new table"
    ],
    [
      "a table without an index",
      "bare",
      "The store failed to page: the table bare has no index changes: use a new table"
    ]
  ]
  for (const [what, table, message] of refusals) {
    live(
      `says what is wrong with ${what}`,
      Effect.gen(function* () {
        const client = yield* dynamoClient((yield* server).url)
        if (table !== "missing") {
          yield* created(client, table, { KeySchema: table === "bare" ? key("pk", "sk") : key("id") })
        }
        const store = yield* DynamoStore.make({ client, table })
        if (table === "bare") yield* swapOf(store, swap())
        const reader = yield* DynamoStore.make({ client, table })
        const error = yield* Effect.flip(reader.page(0, 10))
        assert.isTrue(error.message.startsWith(message), error.message)
      })
    )
  }

  const description = definition("circuits")
  const [changes] = description.LocalSecondaryIndexes
  const index = (other: object) => ({ ...description, LocalSecondaryIndexes: [{ ...changes, ...other }] })
  it.each<readonly [what: string, table: TableDescription, problems: ReadonlyArray<string>]>([
    ["the definition", description, []],
    ["keys in another order", { ...description, KeySchema: description.KeySchema.toReversed() }, []],
    ["an index with all attributes", index({ Projection: { ProjectionType: "ALL" } }), []],
    ["an index with too few attributes", index({ Projection: { ProjectionType: "KEYS_ONLY" } }), ["does not contain"]],
    ["an index with other keys", index({ KeySchema: description.KeySchema }), ["expected the keys pk (S), e (N)"]],
    ["an index with another name", index({ IndexName: "other" }), ['the index "changes" is missing']]
  ])("compares a table that has %s", (_, table, problems) => {
    const found = tableProblems(table)
    assert.strictEqual(found.length, problems.length, found.join())
    problems.forEach((problem, i) => {
      assert.include(found[i], problem)
    })
  })

  live(
    "says why a table cannot be created",
    Effect.gen(function* () {
      const client: DynamoStore.DynamoClient = { send: () => Promise.reject(new Error("no rights")) }
      const error = yield* Effect.flip(DynamoStore.createTable({ client, table: "a-fourth" }))
      assert.strictEqual(error.message, "The request to DynamoDB failed: no rights")
    })
  )

  live(
    "reads the items of a batch if the answer names the table by its ARN",
    Effect.gen(function* () {
      const aws = yield* dynamoClient((yield* server).url)
      const arn = `arn:aws:dynamodb:eu-central-1:123456789012:table/${table}`
      const renamed = (found: Record<string, unknown> = {}) =>
        Object.fromEntries(Object.entries(found).map(([, value]) => [arn, value]))
      let answers = 0
      const client: DynamoStore.DynamoClient = {
        send: async (command, options) => {
          if (!(command instanceof BatchGetItemCommand)) return aws.send(command, options)
          const answer = await aws.send(command, options)
          const keys = Object.values(command.input.RequestItems ?? {}).flatMap(({ Keys = [] }) => Keys)
          // The first answer contains no items.
          return answers++ === 0
            ? { Responses: {}, UnprocessedKeys: { [arn]: { Keys: keys } } }
            : { Responses: renamed(answer.Responses), UnprocessedKeys: {} }
        }
      }
      const store = yield* DynamoStore.make({ client: aws, table, prefix: "batch" })
      yield* swapOf(store, swap())
      yield* exchanged(store, { swaps: [swap({ circuit: "next" })] })
      const named = yield* DynamoStore.make({ client, table, prefix: "batch" })
      assert.strictEqual((yield* named.load(["api"])).records[0]?.body, "body")
      assert.isAbove(answers, 1)
    })
  )

  live(
    "reads its client and its options from the environment",
    Effect.gen(function* () {
      vi.stubEnv("AWS_ENDPOINT_URL_DYNAMODB", (yield* server).url)
      vi.stubEnv("AWS_REGION", "eu-central-1")
      vi.stubEnv("AWS_ACCESS_KEY_ID", "key")
      vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret")
      const provider = ConfigProvider.fromUnknown({ CIRCUITS_TABLE: table, POLL: "200ms" })
      const layer = DynamoStore.layerConfig({
        table: Config.String("CIRCUITS_TABLE"),
        pollInterval: Config.String("POLL"),
        prefix: "environment",
        syncInterval: 200
      }).pipe(Layer.provide(ConfigProvider.layer(provider)))
      const [a, b] = [yield* replica(Layer.fresh(layer)), yield* replica(Layer.fresh(layer))]
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* standsAt([a, b], "Isolated (fleet)")
    })
  )

  const wrong: ReadonlyArray<readonly [env: Record<string, string>, problem: RegExp]> = [
    [
      { CIRCUITS_TABLE: "no table!", POLL: "1s" },
      /table: expected the name or the ARN of a table \(3 or more letters, .*\), got "no table!"/
    ],
    [{ CIRCUITS_TABLE: "circuits", POLL: "soon" }, /pollInterval: expected a duration above 0/]
  ]
  it.each(wrong)("%j in the environment fails the layer with an error that names the option", async (env, problem) => {
    const layer = DynamoStore.layerConfig({
      table: Config.String("CIRCUITS_TABLE"),
      pollInterval: Config.String("POLL")
    }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env))))
    const exit = await Effect.runPromiseExit(Effect.scoped(Layer.build(layer)))
    assert(Exit.isFailure(exit))
    assert.match(String(exit.cause), problem)
  })

  const client: DynamoStore.DynamoClient = { send: () => Promise.reject(new Error("not called")) }
  const misuses: ReadonlyArray<readonly [name: string, call: () => unknown, message: RegExp]> = [
    ["no client", () => DynamoStore.layer({ table } as never), /DynamoStore\.layer: client: expected a DynamoDBClient/],
    ["a client without send", () => DynamoStore.make({ client: {} as never, table }), /make: client: expected/],
    ["no table", () => DynamoStore.layer({ client } as never), /layer: table: expected the name or the ARN/],
    ["a prefix with a space", () => DynamoStore.make({ client, table, prefix: "a b" }), /make: prefix: expected/],
    ["a wrong interval", () => DynamoStore.layer({ client, table, pollInterval: -1 }), /layer: pollInterval: expected/],
    ["a wrong name", () => DynamoStore.layer({ client, table, perfix: "" } as never), /perfix.*did you mean prefix/],
    ["createTable without a table", () => DynamoStore.createTable({ client } as never), /createTable: table: expected/]
  ]
  it.each(misuses)("%s is a RangeError that names the option", (_, call, message) => {
    assert.throws(call, RangeError, message)
  })

  it("starts without DynamoDB, and logs the reason once", async () => {
    const said: Array<string> = []
    const logger = Logger.make(({ message }) => void said.push(String(message)))
    const layer = DynamoStore.layer({ client, table, connectTimeout: 100, syncInterval: 100 })
    const program = Effect.gen(function* () {
      const scope = yield* Scope.Scope
      const context = yield* Layer.buildWithScope(layer, scope)
      const got = yield* Effect.provideContext(CircuitBreaker.protect(Effect.succeed("ok"), "api"), context)
      yield* Effect.sleep("2 seconds")
      return got
    })
    const got = await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Logger.layer([logger]))))
    assert.strictEqual(got, "ok")
    assert.deepStrictEqual(
      said.filter((line) => /does not answer/.test(line)).map((line) => /not called/.test(line)),
      [true]
    )
  }, 20_000)
})
