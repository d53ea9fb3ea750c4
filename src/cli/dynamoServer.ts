import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { foreignMessage } from "../core/foreign.ts"
import { type AwsPackage, get, load, nameOf, RequestError } from "../dynamo/client.ts"
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
  type Explaining,
  optional,
  rightsAdvice,
  type StoreServer
} from "./server.ts"
import type { CommandSettings } from "./settings.ts"

/** A DynamoDB table. The AWS client reads its region, credentials and endpoint from the environment. */
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
    const source: Explaining = {
      get label() {
        const at = host()
        return `DynamoDB table ${table}${at === undefined ? "" : ` at ${at}`}`
      },
      explain
    }
    const found = yield* dynamoTable(client, aws, { name: table, prefix })
    const ask = asking(source, settings)
    const hub = yield* ask(Effect.result(get(found, hubKey)))
    if (Result.isFailure(hub) && remedyFor(hub.failure.cause)?.isOfTable !== true)
      return yield* ask(Effect.fail(hub.failure))
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

/** Reads the region from the ARN of a table. Returns `undefined` for a name. */
const regionOf = (table: string): string | undefined => /^arn:[^:]*:dynamodb:([a-z\d-]+):/.exec(table)?.[1]

/**
 * Creates a client, and remembers the host of the latest request. Only the client knows the host: it reads variables and configuration
 * files.
 */
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

interface Remedy {
  readonly error: RegExp
  readonly advice: string
  /** Replaces the message of the error. */
  readonly message?: (name: string) => string
  /** Whether DynamoDB answered, and the problem is the table or the rights on it. `doctor` explains such a problem. */
  readonly isOfTable?: boolean
}

const credentialsAdvice = "Check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
const endpointAdvice =
  "Check AWS_REGION, and AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL if they are set to a URL such as http://localhost:8000."

const remedies: ReadonlyArray<Remedy> = [
  {
    error: /^ResourceNotFoundException$/,
    message: () => "the table does not exist",
    advice: "Check the name, AWS_REGION and AWS_PROFILE. DynamoStore.createTable creates a table.",
    isOfTable: true
  },
  { error: /^AccessDeniedException$/, advice: rightsAdvice, isOfTable: true },
  {
    error: /^ValidationException$/,
    advice: "effect-fuse doctor compares the table with its definition.",
    isOfTable: true
  },
  {
    error: /^(ProvisionedThroughputExceeded|Throttling|RequestLimitExceeded)(Exception)?$/,
    advice: "DynamoDB throttles the table or its partition. Try again, or raise the capacity of the table.",
    isOfTable: true
  },
  {
    error:
      /^(UnrecognizedClient|InvalidSignature|IncompleteSignature|MissingAuthenticationToken|ExpiredToken|InvalidClientTokenId)(Exception)?$/,
    // The message of AWS may repeat the signed request, which contains a secret.
    message: (name) => `AWS does not accept the credentials (${name})`,
    advice: `${credentialsAdvice}. Temporary credentials expire. The clock of this machine must be right.`
  },
  {
    error: /^(Credentials|Token)ProviderError$/,
    advice: `${credentialsAdvice}. If you use single sign-on, sign in again.`
  },
  {
    error: /^(Unknown|SyntaxError)$/,
    message: () => "the answer does not come from DynamoDB",
    advice: endpointAdvice
  },
  { error: /^UnreadableHub$/, advice: "Use the command line of the version that wrote it, or another --prefix." }
]

const remedyFor = (cause: unknown): Remedy | undefined => remedies.find(({ error }) => error.test(nameOf(cause)))

const explain = (error: unknown): Explained => {
  const cause = error instanceof RequestError ? error.cause : error
  const { advice, message } = remedyFor(cause) ?? {}
  const isOfSystem = typeof (cause as { readonly code?: unknown } | undefined)?.code === "string"
  return {
    message: message?.(nameOf(cause)) ?? foreignMessage(cause),
    advice: advice ?? (isOfSystem ? endpointAdvice : undefined)
  }
}
