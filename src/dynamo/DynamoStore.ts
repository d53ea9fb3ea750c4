/**
 * Circuits that processes share through a table of Amazon DynamoDB.
 *
 * **When to use**
 *
 * In functions and services on AWS that have neither Redis nor a database: provide {@link layer} in place of
 * `BreakerStore.layerMemory`, with the `DynamoDBClient` of your program. If you run Redis, use `RedisStore`: it is cheaper for many
 * circuits and many processes, and announces changes at once.
 *
 * **What it costs**
 *
 * A call costs no request. Each process sends one heartbeat (one write, and one for its digest) and one read per `syncInterval`, and one
 * read per `pollInterval`. When calls fail, an exchange sends four requests, and one request for each changed circuit. Each live process
 * makes the written items larger.
 *
 * **What it needs**
 *
 * The package `@aws-sdk/client-dynamodb`, and a table. Create the table with {@link createTable} or a CloudFormation template. While DynamoDB
 * is unreachable or throttles requests, each process decides alone.
 *
 * **Gotchas**
 *
 * - The condition of a write cannot read a clock in DynamoDB. The page of this module explains how the store refuses late writes instead.
 * - One partition contains all items of a prefix. A partition accepts at most 1,000 write units per second.
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import { type Decoded, decodeOptions, field, optional, positiveMillis } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import { ofShared, orConfigs, valuesOf } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import type { DynamoClient, RequestError } from "./client.ts"
import { load as loadPackage } from "./client.ts"
import { defaultPollMillis, defaultPrefix, dynamoTable, storeOn } from "./store.ts"
import * as tables from "./table.ts"
import { tableFields } from "./tableFields.ts"

export type {
  /**
   * The interface of a `DynamoDBClient` from `@aws-sdk/client-dynamodb` that the store calls.
   *
   * @category models
   */
  DynamoClient,
  /**
   * A request to DynamoDB failed.
   *
   * @category errors
   */
  RequestError
} from "./client.ts"

/**
 * Selects the table and the prefix of the circuits, and sets how often the store reads them.
 *
 * @category models
 */
export interface TableOptions {
  /** The name or the ARN of the table. */
  readonly table: string
  /**
   * All items of the store have this partition key. It has at most 100 letters, digits, `.`, `_`, `-` and `:`. Processes with the same
   * prefix form one fleet. Default: `effect-fuse`.
   */
  readonly prefix?: string | undefined
  /**
   * How often the store reads changes of other processes. Each interval varies by up to 20 percent. Each read costs one read unit. Default:
   * 1 second.
   */
  readonly pollInterval?: Duration.Input | undefined
}

/**
 * Options of a shared store on DynamoDB.
 *
 * @category models
 */
export interface DynamoOptions extends TableOptions {
  /** A `DynamoDBClient`. The program closes it; the store does not. */
  readonly client: DynamoClient
}

/**
 * Options of a breaker store on DynamoDB.
 *
 * @category models
 */
export interface Options extends BreakerStore.SharedOptions, DynamoOptions {}

const clientField = field<DynamoClient>("a DynamoDBClient", (input) =>
  typeof input === "object" && input !== null && "send" in input && typeof input.send === "function"
    ? (input as DynamoClient)
    : undefined
)
const locationFields = { ...tableFields, pollInterval: optional(positiveMillis) }
const dynamoFields = { client: clientField, ...locationFields }
const layerFields = { ...dynamoFields, ...ofShared }
const configFields = { ...locationFields, ...ofShared }

/**
 * Creates the table unless it exists, waits until the table is active, and lets DynamoDB delete expired items. A program can call this function
 * again. DynamoDB bills the table per request. If a table with this name has other keys or another index, the effect fails.
 *
 * @category tables
 */
export const createTable = (options: {
  readonly client: DynamoClient
  readonly table: string
}): Effect.Effect<void, RequestError> => {
  const { client, table } = decodeOptions(
    "DynamoStore.createTable",
    { client: clientField, table: tableFields.table },
    options
  )
  return tables.createTable(client, table)
}

/**
 * A shared store on DynamoDB, for example for a `QuorumStore`. Throws a `RangeError` that names every invalid option.
 *
 * @category constructors
 */
export const make = (options: DynamoOptions): Effect.Effect<SharedStore> =>
  making(decodeOptions("DynamoStore.make", dynamoFields, options))

const making = ({
  client,
  pollInterval = defaultPollMillis,
  prefix = defaultPrefix,
  table
}: Decoded<typeof dynamoFields>): Effect.Effect<SharedStore> =>
  Effect.flatMap(tables.loaded, (aws) =>
    Effect.map(dynamoTable(client, aws, { name: table, prefix }), (one) => storeOn(one, pollInterval))
  )

/**
 * A breaker store on DynamoDB. All processes with the same table and the same prefix share their circuits. Throws a `RangeError` that names
 * every invalid option.
 *
 * ```ts
 * import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
 * import * as DynamoStore from "effect-fuse/DynamoStore"
 *
 * const Store = DynamoStore.layer({ client: new DynamoDBClient({}), table: "circuits", prefix: "shop" })
 * ```
 *
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<BreakerStore.BreakerStore> => {
  const { client, pollInterval, prefix, table, ...shared } = decodeOptions("DynamoStore.layer", layerFields, options)
  return Layer.unwrap(
    Effect.map(making({ client, pollInterval, prefix, table }), (store) => BreakerStore.layerShared(store, shared))
  )
}

/**
 * Options from the environment. Each option is a value or a `Config`. A `Config.String` accepts short durations, such as `30s`.
 *
 * @category models
 */
export type ConfigOptions = {
  readonly [K in keyof Omit<Options, "client">]:
    | Options[K]
    | Config.Config<Exclude<Options[K], undefined>>
    | (Duration.Input extends Options[K] ? Config.Config<string> : never)
}

/**
 * Like {@link layer}, but creates its own client. The client reads its region, credentials and endpoint as every AWS client does: from
 * `AWS_REGION`, the role of the function, `AWS_ENDPOINT_URL_DYNAMODB` and so on.
 *
 * If the value of a `Config` is invalid, the layer fails with a `PolicyError` that names the option.
 *
 * ```ts
 * import { Config } from "effect"
 * import * as DynamoStore from "effect-fuse/DynamoStore"
 *
 * const Store = DynamoStore.layerConfig({ table: Config.String("CIRCUITS_TABLE"), prefix: "shop" })
 * ```
 *
 * @category layers
 */
export const layerConfig = (
  options: ConfigOptions
): Layer.Layer<BreakerStore.BreakerStore, PolicyError | Config.ConfigError> => {
  const given = decodeOptions("DynamoStore.layerConfig", orConfigs(configFields), options)
  return Layer.unwrap(
    Effect.gen(function* () {
      const { pollInterval, prefix, table, ...shared } = yield* valuesOf(configFields, given)
      const client = yield* ownClient
      const store = yield* making({ client, pollInterval, prefix, table })
      return BreakerStore.layerShared(store, shared)
    })
  )
}

const ownClient: Effect.Effect<DynamoClient, PolicyError, Scope.Scope> = Effect.gen(function* () {
  const { DynamoDBClient } = yield* Effect.tryPromise({
    try: loadPackage,
    catch: (error) => new PolicyError({ problems: [{ path: "@aws-sdk/client-dynamodb", message: foreignText(error) }] })
  })
  return yield* Effect.acquireRelease(
    Effect.sync(() => new DynamoDBClient({})),
    (client) => Effect.sync(() => client.destroy())
  )
})
