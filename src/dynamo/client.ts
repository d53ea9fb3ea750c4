import type { TableDescription } from "@aws-sdk/client-dynamodb"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { foreignMessage } from "../core/foreign.ts"
import { exportsOf, packageError } from "../core/optionalPackage.ts"
import type { ServerClock } from "./serverClock.ts"

/**
 * The interface of a `DynamoDBClient` from `@aws-sdk/client-dynamodb` that the store calls.
 *
 * @category models
 */
export interface DynamoClient {
  // The signatures of the AWS client are overloaded and generic: no simpler type accepts them.
  readonly send: (
    // biome-ignore lint/suspicious/noExplicitAny: the AWS client defines the commands
    command: any,
    options?: { readonly abortSignal?: AbortSignal }
    // biome-ignore lint/suspicious/noExplicitAny: each command has its own answer, and this store decodes it
  ) => Promise<any>
}

export type { TableDescription }
export type AwsPackage = typeof import("@aws-sdk/client-dynamodb")

/** Loads the AWS client. The `try` tells bundlers that it may be missing. */
export const load = async (): Promise<AwsPackage> => {
  try {
    return exportsOf(await import("@aws-sdk/client-dynamodb"), "DynamoDBClient")
  } catch (cause) {
    throw packageError("@aws-sdk/client-dynamodb", cause)
  }
}

const refusedName = "ConditionalCheckFailedException"

/** A request to DynamoDB failed. */
export class RequestError extends Data.TaggedError("RequestError")<{ readonly cause: unknown }> {
  override get message(): string {
    return `The request to DynamoDB failed: ${foreignMessage(this.cause)}`
  }

  /** Whether DynamoDB refused a write because the write's condition is false. */
  get isRefused(): boolean {
    return nameOf(this.cause) === refusedName
  }
}

/** The metadata that the AWS client adds to its errors. */
const metadataOf = (error: unknown): { readonly attempts?: unknown; readonly httpStatusCode?: unknown } =>
  (error as { readonly $metadata?: object } | undefined)?.$metadata ?? {}

/**
 * Whether the AWS client sent the request more than once. If DynamoDB refused the last attempt of such a write, an earlier attempt may have
 * succeeded.
 */
export const isRepeated = ({ cause }: RequestError): boolean => {
  const { attempts } = metadataOf(cause)
  return typeof attempts === "number" && attempts > 1
}

/** Whether DynamoDB answered the request, with any status. */
export const isAnswered = ({ cause }: RequestError): boolean => metadataOf(cause).httpStatusCode !== undefined

export const nameOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "name" in error ? String(error.name) : ""

/** The AWS client expects attribute values in this format. */
export type AttributeValue =
  | { readonly S: string }
  | { readonly N: string }
  | { readonly BOOL: boolean }
  | { readonly M: Readonly<Record<string, AttributeValue>> }

export type Item = Readonly<Record<string, AttributeValue | undefined>>

export const s = (text: string): AttributeValue => ({ S: text })
export const n = (number: number): AttributeValue => ({ N: String(number) })

export const textOf = (value: AttributeValue | undefined): string | undefined =>
  value !== undefined && "S" in value ? value.S : undefined

/** A whole number of 0 or more; `undefined` for any other value. */
export const wholeOf = (value: AttributeValue | undefined): number | undefined => {
  const number = value !== undefined && "N" in value ? Number(value.N) : Number.NaN
  return Number.isSafeInteger(number) && number >= 0 ? number : undefined
}

/** The store sends these requests. Each type contains only those fields of the answer that the store reads. */
interface Requests {
  readonly GetItem: { readonly Item?: Item }
  readonly PutItem: object
  readonly UpdateItem: { readonly Attributes?: Item }
  readonly Query: { readonly Items?: ReadonlyArray<Item>; readonly LastEvaluatedKey?: Item }
  readonly BatchGetItem: {
    readonly Responses?: Readonly<Record<string, ReadonlyArray<Item>>>
    readonly UnprocessedKeys?: Readonly<Record<string, { readonly Keys?: ReadonlyArray<Item> }>>
  }
}

/** An operation may take this long. It may send several requests in sequence. */
export const deadlineMillis = 1_000

/** A process stops retries shortly before its deadline. At the deadline, the error would not contain the reason of the retries. */
const giveUpMillis = deadlineMillis - 50

const notInTime = (options?: ErrorOptions) =>
  Effect.fail(new RequestError({ cause: new Error("DynamoDB has not answered in time", options) }))

/**
 * Fails after the deadline. The AWS client itself has no timeout, and may wait forever on a connection that broke while the process was frozen.
 */
export const withDeadline = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E | RequestError> =>
  Effect.timeoutOrElse(self, { duration: deadlineMillis, orElse: () => notInTime() })

/**
 * Fails shortly before the deadline if the AWS client is repeating a request then, for example because DynamoDB throttles. The error contains
 * the reason of the last retry.
 */
export const withReason = <A, E>(
  { attempts }: DynamoTable,
  self: Effect.Effect<A, E>
): Effect.Effect<A, E | RequestError> =>
  Effect.raceFirst(
    self,
    Effect.andThen(
      Effect.sleep(giveUpMillis),
      Effect.suspend(() => (attempts.trouble === undefined ? Effect.never : notInTime({ cause: attempts.trouble })))
    )
  )

type SendRequest = <K extends keyof Requests>(
  kind: K,
  input: Readonly<Record<string, unknown>>
) => Effect.Effect<Requests[K], RequestError>

/**
 * The method of the AWS client's middleware stack that adds a middleware. In the step `finalizeRequest`, a middleware of low priority receives
 * the result of each attempt. In the step `deserialize`, it receives the HTTP response of each attempt.
 */
interface CommandStack {
  readonly add: (
    middleware: (next: (args: unknown) => Promise<unknown>) => (args: unknown) => Promise<unknown>,
    options: { readonly step: "deserialize" | "finalizeRequest"; readonly priority: "low"; readonly name: string }
  ) => void
}

/** The error of a request's latest attempt. `undefined` if DynamoDB carried out the request. */
export interface Attempts {
  trouble: unknown
}

/**
 * Sends requests, passes the `Date` header of each response to the clock, and records the errors of attempts that the client repeats. An
 * interruption aborts the request, but DynamoDB may still carry out the write.
 */
export const sender = (client: DynamoClient, aws: AwsPackage, clock: ServerClock, attempts: Attempts): SendRequest => {
  const commands = {
    GetItem: aws.GetItemCommand,
    PutItem: aws.PutItemCommand,
    UpdateItem: aws.UpdateItemCommand,
    Query: aws.QueryCommand,
    BatchGetItem: aws.BatchGetItemCommand
  }
  return (kind, input) =>
    Effect.tryPromise({
      try: (abortSignal) => {
        const command = new (commands[kind] as new (input: unknown) => { readonly middlewareStack: CommandStack })(
          input
        )
        command.middlewareStack.add(
          (next) => async (args) => {
            const sentAt = clock.local()
            const result = await next(args)
            clock.note(dateOf(result), sentAt)
            return result
          },
          { step: "deserialize", priority: "low", name: "effectFuseDate" }
        )
        command.middlewareStack.add(
          (next) => async (args) => {
            try {
              const result = await next(args)
              attempts.trouble = undefined
              return result
            } catch (error) {
              // An abort ends this wait, but is not its reason. A refused write is an answer.
              if (!abortSignal.aborted) attempts.trouble = nameOf(error) === refusedName ? undefined : error
              throw error
            }
          },
          { step: "finalizeRequest", priority: "low", name: "effectFuseAttempt" }
        )
        return client.send(command, { abortSignal })
      },
      catch: (cause) => new RequestError({ cause })
    })
}

/** Reads the `Date` header of a response, in milliseconds. Returns NaN without a valid header. */
const dateOf = (result: unknown): number => {
  const headers = (
    result as { readonly response?: { readonly headers?: Readonly<Record<string, string>> } } | undefined
  )?.response?.headers
  return Date.parse(headers?.["date"] ?? headers?.["Date"] ?? "")
}

/** A store keeps its items in one partition of this table. */
export interface DynamoTable {
  readonly name: string
  readonly prefix: string
  readonly send: SendRequest
  readonly clock: ServerClock
  readonly attempts: Attempts
}

export const keyOf = (table: DynamoTable, sk: string): Item => ({ pk: s(table.prefix), sk: s(sk) })

/** The attribute names of an expression. DynamoDB reserves many words, so expressions write every name as `#name`. */
export const expression = (text: string, more: Readonly<Record<string, string>> = {}) => {
  const found = text.match(/#[a-z]\w*/gi) ?? []
  return Object.fromEntries(found.map((one) => [one, more[one] ?? one.slice(1)]))
}

/** Puts an item, unless a newer item is present. An older item has a number `name` below `value` (`<`), or of at most `value` (`<=`). */
export const putOver = (table: DynamoTable, item: Item, name: string, is: "<" | "<=", value: number) => {
  const condition = `attribute_not_exists(#${name}) OR #${name} ${is} :${name} OR NOT attribute_type(#${name}, :number)`
  return table.send("PutItem", {
    TableName: table.name,
    Item: item,
    ConditionExpression: condition,
    ExpressionAttributeNames: expression(condition),
    ExpressionAttributeValues: { [`:${name}`]: n(value), ":number": s("N") }
  })
}

/** Reads one item, strongly consistent. */
export const get = (table: DynamoTable, sk: string): Effect.Effect<Item | undefined, RequestError> =>
  Effect.map(
    table.send("GetItem", { TableName: table.name, Key: keyOf(table, sk), ConsistentRead: true }),
    ({ Item }) => Item
  )

/** DynamoDB accepts at most this many keys in one request. */
const batchSize = 100

/** The store requests unprocessed keys at most this many times again. The first delay doubles with each retry. */
const unprocessedTimes = 5
const unprocessedMillis = 10

/** Reads items by their sort keys, strongly consistent. */
export const getAll = (
  table: DynamoTable,
  sks: ReadonlyArray<string>
): Effect.Effect<ReadonlyMap<string, Item>, RequestError> => {
  const read = (
    keys: ReadonlyArray<Item>,
    found: Map<string, Item>,
    times: number
  ): Effect.Effect<void, RequestError> =>
    Effect.flatMap(
      table.send("BatchGetItem", { RequestItems: { [table.name]: { Keys: keys, ConsistentRead: true } } }),
      ({ Responses, UnprocessedKeys }) => {
        // The request may contain the table's ARN and the answer its name, or the reverse. All keys belong to one table.
        for (const item of Object.values(Responses ?? {}).flat()) found.set(textOf(item["sk"]) ?? "", item)
        const left = Object.values(UnprocessedKeys ?? {}).flatMap(({ Keys = [] }) => Keys)
        if (left.length === 0) return Effect.void
        return times === 0
          ? Effect.fail(new RequestError({ cause: new Error("the table is throttled: keys were not processed") }))
          : Effect.andThen(
              Effect.sleep(unprocessedMillis * 2 ** (unprocessedTimes - times)),
              read(left, found, times - 1)
            )
      }
    )
  return Effect.suspend(() => {
    const found = new Map<string, Item>()
    const parts: Array<ReadonlyArray<Item>> = []
    for (let i = 0; i < sks.length; i += batchSize) {
      parts.push(sks.slice(i, i + batchSize).map((sk) => keyOf(table, sk)))
    }
    return Effect.as(
      Effect.forEach(parts, (keys) => read(keys, found, unprocessedTimes), { concurrency: 2, discard: true }),
      found
    )
  })
}

/** Reads all items of a query, or the first `limit` items, strongly consistent. */
export const queryAll = (
  table: DynamoTable,
  query: Readonly<Record<string, unknown>>,
  limit = Infinity
): Effect.Effect<ReadonlyArray<Item>, RequestError> =>
  Effect.suspend(() => {
    const found: Array<Item> = []
    return Effect.as(
      queryPages(table, query, (items) => void found.push(...items), limit),
      found
    )
  })

/** Reads a query page by page, strongly consistent, and passes the items of each page to `take`. Stops after `limit` items. */
export const queryPages = (
  table: DynamoTable,
  query: Readonly<Record<string, unknown>>,
  take: (items: ReadonlyArray<Item>) => void,
  limit = Infinity
): Effect.Effect<void, RequestError> => {
  const read = (left: number, start: Item | undefined): Effect.Effect<void, RequestError> =>
    Effect.flatMap(
      table.send("Query", {
        TableName: table.name,
        ConsistentRead: true,
        ...query,
        ...(left === Infinity ? {} : { Limit: left }),
        ...(start === undefined ? {} : { ExclusiveStartKey: start })
      }),
      ({ Items = [], LastEvaluatedKey }) => {
        take(Items)
        return LastEvaluatedKey === undefined || Items.length >= left
          ? Effect.void
          : read(left - Items.length, LastEvaluatedKey)
      }
    )
  return read(limit, undefined)
}
