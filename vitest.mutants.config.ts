import { defineConfig } from "vitest/config"

const conditions = ["@effect-fuse/source"]

/** The tests of the pure floor, of the codecs and of the answer to a call, which are quick: `npm run mutants` runs them once for each mutant. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      ...["Window", "Trip", "Circuit", "Fleet", "Outcome", "codec", "record", "fields", "CircuitOpen", "BreakerEvent"],
      ...["BreakerStore.transfer", "Operator", "answer", "operatorActions", "states"]
    ].map((name) => `test/${name}{,.*}.test.ts`),
    exclude: ["test/Operator.servers.test.ts"]
  }
})
