import { defineConfig } from "vitest/config"

const conditions = ["@effect-fuse/source"]

/** The quick tests of decisions, codecs and classification. `npm run mutants` runs them once for each mutant. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      ...["Window", "Trip", "Circuit", "Fleet", "Outcome", "codec", "record", "fields", "CircuitOpen", "BreakerEvent"],
      ...["BreakerStore.transfer", "Operator", "answer", "operatorActions", "states"],
      ...[
        "classify",
        "errorCarriers",
        "AiBreaker.errors",
        "RetryAfter",
        "DynamoStore.items",
        "limit",
        "remember",
        "RpcClientBreaker",
        "RpcServerBreaker"
      ]
    ].map((name) => `test/${name}{,.*}.test.ts`),
    exclude: ["test/Operator.servers.test.ts", "test/limit.property.test.ts"]
  }
})
