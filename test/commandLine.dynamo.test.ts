import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { CreateTableCommand } from "@aws-sdk/client-dynamodb"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { awsVariables, startServers } from "./support/cliPlaces.ts"
import { type Around, parsed, runs } from "./support/commandLine.ts"
import { dynamoProxy, type Refusal } from "./support/dynamoProxy.ts"
import { circuitsTable, dynamoClient } from "./support/dynamoServer.ts"
import { live } from "./support/redisLive.ts"

const { all, ready } = startServers()

const few = { concurrency: 3 }
const table = ["--dynamo", circuitsTable]

const denied = (kind: string): Refusal => ({
  error: "AccessDeniedException",
  message: `User: arn:aws:iam::123456789012:user/ann is not authorized to perform: dynamodb:${kind}`
})

/** Makes the environment of a command. The command reaches the emulator through a proxy. The proxy refuses some requests. */
const refusing = (refusal: (kind: string) => Refusal | undefined) =>
  Effect.gen(function* () {
    const proxy = yield* dynamoProxy(all.dynamo.url)
    proxy.decide = ({ kind }) => refusal(kind) ?? "pass"
    return { env: awsVariables(proxy.url) }
  })

/** Returns the checks of `doctor` that warn or fail, and their texts. */
const doctor = (code: number, flags: ReadonlyArray<string>, around?: Around) =>
  Effect.map(runs(code, ["doctor", "--json", ...flags], around), ({ out }) => {
    const checks = parsed(out).checks as ReadonlyArray<Record<"check" | "status" | "said" | "advice", string>>
    const found = checks.filter(({ status }) => status !== "ok")
    return { short: found.map(({ check, status }) => `${status} ${check}`), text: JSON.stringify(found) }
  })

describe("The doctor on a table of DynamoDB finds", () => {
  live(
    "that the table does not exist, or has other keys",
    Effect.gen(function* () {
      const client = yield* dynamoClient(all.dynamo.url)
      const orders = new CreateTableCommand({
        TableName: "orders",
        BillingMode: "PAY_PER_REQUEST",
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }]
      })
      yield* Effect.promise(() => client.send(orders))
      const missing = yield* doctor(3, ["--dynamo", "nowhere"])
      assert.deepStrictEqual(missing.short, ["fail table", "fail store"])
      assert.match(missing.text, /the table does not exist.*Check the name, AWS_REGION/)
      const other = yield* doctor(3, ["--dynamo", "orders"])
      assert.deepStrictEqual(other.short, ["fail table", "warn expiry", "fail store"])
      assert.match(other.text, /expected the keys pk \(S\), sk \(S\), got id \(S\)/)
    }),
    60_000
  )

  live(
    "which permission is missing, and lists the needed permissions",
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [kinds: RegExp, code: number, short: ReadonlyArray<string>]> = [
        [/Describe/, 0, ["warn table", "warn circuits"]],
        [/TimeToLive/, 0, ["warn expiry", "warn circuits"]],
        [/GetItem/, 3, ["warn expiry", "fail store"]],
        [/Update|Put/, 3, ["warn expiry", "fail records", "warn circuits"]],
        [/Query/, 3, ["warn expiry", "fail circuits"]]
      ]
      for (const [kinds, code, short] of cases) {
        const { circuits } = yield* ready("DynamoDB")
        const around = yield* refusing((kind) => (kinds.test(kind) ? denied(kind) : undefined))
        const found = yield* doctor(code, circuits, around)
        assert.deepStrictEqual(found.short, short, String(kinds))
        assert.match(found.text, /is not authorized to perform: dynamodb:/)
        if (code !== 0)
          assert.include(found.text, "needs dynamodb:GetItem, BatchGetItem, Query, PutItem and UpdateItem")
        assert.notInclude(found.text, "effect-fuse doctor shows")
      }
    }),
    60_000
  )
})

describe("A command on a table of DynamoDB", () => {
  live(
    "says what to do about an AWS error, and does not show the signed request",
    Effect.gen(function* () {
      const signed = "The request signature does not match. x-amz-security-token:hunter2"
      const cases: ReadonlyArray<readonly [error: string, message: string, says: RegExp]> = [
        ["InvalidSignatureException", signed, /AWS does not accept the credentials.*\nCheck AWS_PROFILE/],
        ["ExpiredTokenException", signed, /AWS does not accept the credentials.*\n.*credentials expire/],
        ["AccessDeniedException", denied("GetItem").message, /not authorized.*\neffect-fuse doctor shows/],
        ["ValidationException", "wrong keys", /wrong keys\neffect-fuse doctor compares/]
      ]
      const seen = yield* Effect.forEach(
        cases,
        ([error, message, says]) =>
          Effect.gen(function* () {
            const around = yield* refusing(() => ({ error, message }))
            const ended = yield* runs(2, ["list", ...table], around)
            return { ...ended, says }
          }),
        few
      )
      for (const { error, out, says } of seen) {
        assert.match(error, says)
        assert.match(error, /^DynamoDB table circuits at 127\.0\.0\.1:\d+: /)
        assert.notInclude(error + out, "hunter2")
      }
    }),
    60_000
  )

  live(
    "says that the server does not answer, that the endpoint is wrong, or that there are no credentials",
    Effect.gen(function* () {
      const config = join(all.folder, "aws-config")
      writeFileSync(config, "[profile slow]\nregion = eu-central-1\ncredential_process = /bin/sleep 60\n")
      const hung = yield* dynamoProxy(all.dynamo.url)
      hung.decide = () => new Promise(() => {})
      const none = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, AWS_EC2_METADATA_DISABLED: "true" }
      const cases: ReadonlyArray<readonly [env: NonNullable<Around["env"]>, says: RegExp]> = [
        [awsVariables(hung.url), /^DynamoDB table circuits at 127\.0\.0\.1:\d+: no answer within 1s$/m],
        [awsVariables("http://u:hunter2@127.0.0.1:1"), /at 127\.0\.0\.1:1: connect ECONNREFUSED.*\nCheck AWS_REGION/],
        [awsVariables("nonsense"), /^DynamoDB table circuits: Invalid URL.*\nCheck AWS_REGION, and AWS_ENDPOINT_URL/],
        [none, /^AWS credentials: Could not load credentials.*\nCheck AWS_PROFILE/],
        [{ ...none, AWS_PROFILE: "slow", AWS_CONFIG_FILE: config }, /^AWS credentials: no answer within 1s$/m]
      ]
      const seen = yield* Effect.forEach(
        cases,
        ([env, says]) =>
          Effect.map(runs(2, ["list", ...table, "--timeout", "1s"], { env }), (ended) => ({ ...ended, says })),
        few
      )
      for (const { error, out, says } of seen) {
        assert.match(error, says)
        assert.strictEqual(out, "")
        assert.notInclude(error, "hunter2")
      }
    }),
    60_000
  )

  live(
    "uses the table in CIRCUITS_TABLE and the trail in DATABASE_URL; another flag has priority",
    Effect.gen(function* () {
      const { flags, prefix } = yield* ready("DynamoDB")
      const database = flags[flags.indexOf("--database") + 1]
      const env = { CIRCUITS_TABLE: circuitsTable, DATABASE_URL: database, EFFECT_FUSE_PREFIX: prefix }
      yield* runs(0, ["migrate", "--yes"], { env })
      yield* runs(0, ["isolate", "api", "--new", "--yes", "--actor", "ann"], { env })
      const { out } = yield* runs(0, ["history", "--json"], { env })
      assert.deepInclude(parsed(out).entries[0], { circuit: "api", to: "Isolated", actor: "ann" })
      const named = yield* runs(0, ["list", "--json"], { env: { ...env, CIRCUIT_BREAKER_STORE: "dynamo" } })
      assert.strictEqual(parsed(named.out).circuits.length, 1)
      const redis = yield* runs(0, ["list", "--json", "--redis", all.redis.url], { env })
      assert.strictEqual(parsed(redis.out).circuits.length, 0)
    }),
    60_000
  )
})
