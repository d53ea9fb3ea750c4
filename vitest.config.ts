import { defineConfig } from "vitest/config"

const conditions = ["@effect-fuse/source"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    sequence: { shuffle: true },
    testTimeout: 30_000
  }
})
