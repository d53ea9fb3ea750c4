import { defineConfig } from "vitest/config"
import { serversReporter } from "./test/support/serversReporter.ts"

const conditions = ["@effect-fuse/source"]

/** The tests that start servers, in part or as a whole. */
const withServers = [
  ...["AuditTrail", "RedisStore", "SqlStore", "commandLine"].map((name) => `test/${name}{,.*}.test.ts`),
  ...["JobBreaker", "Operator.servers", "coverage.stores", "examples", "fuzz.stores", "promise.redis"].map(
    (name) => `test/${name}.test.ts`
  )
]

const all = { setupFiles: ["test/support/leftOut.ts"], sequence: { shuffle: true }, testTimeout: 30_000 }

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    reporters: ["default", serversReporter],
    // The errors of tests that are left out are no news.
    onConsoleLog: (log) => !log.includes("LeftOut: needs "),
    projects: [
      {
        extends: true,
        test: { ...all, name: "alone", include: ["test/**/*.test.ts"], exclude: withServers }
      },
      {
        extends: true,
        test: { ...all, name: "servers", include: withServers, globalSetup: "test/support/prepareServers.ts" }
      }
    ]
  }
})
