import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { foreignMessage } from "../core/foreign.ts"
import { type AwsPackage, get, isAnswered, load, nameOf, RequestError } from "../dynamo/client.ts"
import { hubKey } from "../dynamo/hub.ts"
import { circuitNames } from "../dynamo/reads.ts"
import { defaultPollMillis, defaultPrefix, dynamoTable, storeOn } from "../dynamo/store.ts"
import { tableFields } from "../dynamo/tableFields.ts"
import { checkTable } from "./dynamoChecks.ts"
import { CommandFailure } from "./messages.ts"
import {
  asking,
  checkedFlags,
  type Explained,
  optional,
  rightsAdvice,
  type Source,
  type StoreServer
} from "./server.ts"
import type { CommandSettings } from "./settings.ts"

/** A table of DynamoDB. The AWS client reads region, credentials and endpoint from the environment, as every AWS client does. */
export const dynamoServer = (
  from: string,
  table: string,
  settings: CommandSettings
): Effect.Effect<StoreServer, CommandFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const given = { table, prefix: Option.getOrUndefined(settings.prefix) }
    const { prefix = defaultPrefix } = yield* checkedFlags(tableFields, given, { table: from })
    const aws = yield* optional("@aws-sdk/client-dynamodb", load)
    const { client, host } = yield* clientFor(aws, table, settings)
    const source: Source = {
      get label() {
        const at = host()
        return `DynamoDB table ${table}${at === undefined ? "" : ` at ${at}`}`
      },
      explain
    }
    const found = yield* dynamoTable(client, aws, { name: table, prefix })
    const ask = asking(source, settings)
    const hub = yield* ask(Effect.result(get(found, hubKey)))
    if (Result.isFailure(hub) && !isOfTable(hub.failure)) return yield* ask(Effect.fail(hub.failure))
    return {
      kind: "DynamoDB",
      label: source.label,
      explain,
      store: (ask) =>
        Result.isSuccess(hub) ? Effect.succeed(storeOn(found, defaultPollMillis)) : ask(Effect.fail(hub.failure)),
      circuits: (most) => circuitNames(found, most),
      clockLead: Effect.sync(() => found.clock.lead),
      clockAdvice:
        "Circuits work: processes correct their clocks to within 2 seconds. Times in logs and in the trail differ: set up time synchronization.",
      checks: (ask) => checkTable(client, aws, table, ask),
      announces: false,
      rights:
        "The user or the role needs dynamodb:GetItem, BatchGetItem, Query, PutItem and UpdateItem on the table, and Query on its index."
    }
  })

// ---- The client -----------------------------------------------------------------------------------------------------

/** The region in the ARN of a table; `undefined` for a name. */
const regionOf = (table: string): string | undefined => /^arn:[^:]*:dynamodb:([a-z\d-]+):/.exec(table)?.[1]

/** A client, and the host of its latest request. Only the client knows the host, from variables and from its configuration files. */
const clientFor = ({ DynamoDBClient }: AwsPackage, table: string, settings: CommandSettings) =>
  Effect.gen(function* () {
    const region = regionOf(table)
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new DynamoDBClient(region === undefined ? {} : { region })),
      (client) => Effect.sync(() => client.destroy())
    )
    yield* Effect.tryPromise({
      try: () => client.config.region(),
      catch: (error) =>
        new CommandFailure({
          code: 1,
          message: `No AWS region given: ${foreignMessage(error)}`,
          advice: "Set AWS_REGION, or AWS_PROFILE for a profile with a region, or give the ARN of the table."
        })
    })
    const credentials = Effect.tryPromise({ try: () => client.config.credentials(), catch: (error) => error })
    yield* asking({ label: "AWS credentials", explain }, settings)(credentials)
    let host: string | undefined
    client.middlewareStack.add(
      (next) => (args) => {
        const { hostname, port } = args.request as { readonly hostname: string; readonly port?: number }
        host = port === undefined ? hostname : `${hostname}:${port}`
        return next(args)
      },
      { step: "build", name: "effectFuseHost" }
    )
    return { client, host: () => host }
  })

// ---- Errors ---------------------------------------------------------------------------------------------------------

const isOneOf =
  (names: ReadonlyArray<string>) =>
  (error: unknown): boolean =>
    names.some((name) => nameOf(error) === `${name}Exception`)

const isMissing = isOneOf(["ResourceNotFound"])
const isDenied = isOneOf(["AccessDenied"])
const isInvalid = isOneOf(["Validation"])
const isThrottled = isOneOf(["ProvisionedThroughputExceeded", "Throttling", "RequestLimitExceeded"])
const isStranger = isOneOf([
  ...["UnrecognizedClient", "InvalidSignature", "IncompleteSignature", "MissingAuthenticationToken"],
  ...["ExpiredToken", "InvalidClientTokenId"]
])

/** Whether DynamoDB answered, and the problem is the table or the rights on it. `doctor` explains such a problem. */
const isOfTable = ({ cause }: RequestError): boolean =>
  isMissing(cause) || isDenied(cause) || isInvalid(cause) || isThrottled(cause)

const credentialsAdvice = "Check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
const endpointAdvice = "Check AWS_REGION, and AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL if they are set."

const explain = (error: unknown): Explained => {
  const cause = error instanceof RequestError ? error.cause : error
  const message = foreignMessage(cause)
  if (isMissing(cause)) {
    return {
      message: "the table does not exist",
      advice: "Check the name, AWS_REGION and AWS_PROFILE. DynamoStore.createTable creates a table."
    }
  }
  // The message of AWS may repeat the signed request, which contains a secret.
  if (isStranger(cause)) {
    return {
      message: `AWS does not accept the credentials (${nameOf(cause)})`,
      advice: `${credentialsAdvice}. Temporary credentials expire. The clock of this machine must be right.`
    }
  }
  if (/^(Credentials|Token)ProviderError$/.test(nameOf(cause))) {
    return { message, advice: `${credentialsAdvice}. For single sign-on, sign in again.` }
  }
  if (isDenied(cause)) return { message, advice: rightsAdvice }
  if (isInvalid(cause)) return { message, advice: "effect-fuse doctor compares the table with its definition." }
  if (isThrottled(cause)) {
    return {
      message,
      advice: "The table or its partition is at its limit. Try again, or raise the capacity of the table."
    }
  }
  if (nameOf(cause) === "Unknown") return { message: "the answer is not one of DynamoDB", advice: endpointAdvice }
  return isAnswered(new RequestError({ cause })) ? { message } : { message, advice: endpointAdvice }
}
