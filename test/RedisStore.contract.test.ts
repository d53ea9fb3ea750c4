import { describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import * as RedisStore from "effect-fuse/RedisStore"
import { SharedStoreContract } from "effect-fuse/testing"
import { madeBefore, ofFile } from "./support/ofFile.ts"
import { client, redisUrl } from "./support/redisServer.ts"

const url = madeBefore(ofFile(redisUrl))

/** One more process with the same Redis: a client of its own. */
const open = (options: { readonly RESP?: 2 | 3 }) =>
  Effect.gen(function* () {
    const redis = yield* Layer.build(Layer.provide(client(yield* url, options), Logger.layer([])))
    return yield* Effect.provideContext(RedisStore.make({ prefix: "contract" }), redis)
  })

describe.each([{ RESP: 3 }, { RESP: 2 }] as const)("Redis keeps the contract, with RESP$RESP", (options) => {
  for (const { name, test } of SharedStoreContract.cases(open(options)))
    it.live(name, () => Effect.scoped(test), 60_000)
})
