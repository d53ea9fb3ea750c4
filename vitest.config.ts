import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { serversReporter } from "./test/support/serversReporter.ts"

const conditions = ["@effect-fuse/source"]

/** The test files that start servers or run their tools, also in one test only. */
const withServers = [
  ...["AuditTrail", "RedisStore", "SqlStore", "commandLine"].map((name) => `test/${name}{,.*}.test.ts`),
  ...[
    "ActivityBreaker.sql",
    "BreakerStore.shared.options",
    "JobBreaker",
    "Operator.servers",
    "alerts",
    "cluster.processes",
    "Dashboard.browser",
    "Playground.browser",
    "Site.browser",
    "examples",
    "fleet.servers",
    "fuzz.redis",
    "fuzz.stores",
    "promise.redis",
    "serverless.processes"
  ].map((name) => `test/${name}.test.ts`)
]

// Tests start many processes on the same sources: without this cache each of them compiles all of them.
process.env["NODE_COMPILE_CACHE"] ??= fileURLToPath(new URL("node_modules/.cache/compiled", import.meta.url))

const all = { setupFiles: ["test/support/askedInVain.ts"], testTimeout: 60_000, hookTimeout: 60_000 }

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    reporters: ["default", serversReporter],
    // Each test without its server also logs that. It is reported once, at the end.
    onConsoleLog: (log) => !/\b(LeftOut|MissingServers): /.test(log),
    tags: [
      {
        name: "long",
        description: "More seeds, for CI. `npm test` leaves them out, `npm run test:long` runs only them."
      }
    ],
    // One worker more than there are cores, because tests with servers mostly wait.
    maxWorkers: availableParallelism() + 1,
    // The projects run in the order of their names, and the longest files of each first: no long file is left at the end.
    sequence: { shuffle: { files: false, tests: true } },
    projects: [
      {
        extends: true,
        test: {
          ...all,
          name: "servers",
          include: withServers,
          globalSetup: ["test/support/prepareServers.ts", "test/support/preparePage.ts"],
          env: { WITH_SERVERS: "1" }
        }
      },
      {
        extends: true,
        // Nothing of these files outlives them, so a worker imports the sources once, and not for each file.
        test: {
          ...all,
          name: "units",
          globalSetup: "test/support/preparePage.ts",
          include: ["test/**/*.test.ts"],
          exclude: withServers,
          isolate: false
        }
      }
    ]
  }
})
