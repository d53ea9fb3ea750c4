/**
 * Measures the sizes of typical programs, bundled, minified and compressed: the whole program, and the part that is this library.
 *
 *     npm run bench:sizes            a table, and bench/results/sizes.json
 *     npm run bench:sizes -- --json  the same as JSON on the standard output
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { gzipSync } from "node:zlib"
import { type BuildOptions, build } from "esbuild"

const programs: ReadonlyArray<readonly [name: string, code: string]> = [
  [
    "Effect alone: an effect that is run",
    `import * as Effect from "effect/Effect"
     Effect.runPromise(Effect.succeed(1)).then(console.log)`
  ],
  [
    "one module: Bulkhead",
    `import * as Effect from "effect/Effect"
     import { Bulkhead } from "effect-fuse"
     Effect.runPromise(Effect.flatMap(Bulkhead.make("a", { concurrency: 1 }), (one) => Bulkhead.limit(Effect.succeed(1), one))).then(console.log)`
  ],
  [
    "protect, in memory",
    `import * as Effect from "effect/Effect"
     import { BreakerStore, CircuitBreaker } from "effect-fuse"
     Effect.runPromise(Effect.succeed(1).pipe(CircuitBreaker.protect("a"), Effect.provide(BreakerStore.layerMemory))).then(console.log)`
  ],
  [
    "the standard pipeline, with policies, on Redis",
    `import * as Effect from "effect/Effect"
     import * as Layer from "effect/Layer"
     import * as NodeRedis from "@effect/platform-node/NodeRedis"
     import { BreakerPolicy, Resilience } from "effect-fuse"
     import * as RedisStore from "effect-fuse/RedisStore"
     const layer = Layer.merge(RedisStore.layerConnect(NodeRedis.layer()), BreakerPolicy.layer({ default: { cooldown: "1 minute" } }))
     const resilient = Resilience.standard("a", { retry: { times: 2 } })
     Effect.runPromise(resilient(Effect.succeed(1)).pipe(Effect.provide(layer))).then(console.log)`
  ],
  [
    "createBreaker, without Effect in sight",
    `import { createBreaker } from "effect-fuse/promise"
     createBreaker(async () => 1).execute().then(console.log)`
  ]
]

interface Size {
  readonly program: string
  /** Bytes, minified and compressed. */
  readonly whole: number
  /** The same for the part that is neither Effect nor a driver. */
  readonly ours: number
}

const bundled = async (contents: string, more: BuildOptions): Promise<number> => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: process.cwd(), loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "node22",
    write: false,
    logLevel: "error",
    external: ["redis", "node:*"],
    ...more
  })
  return gzipSync(outputFiles?.[0]?.contents ?? new Uint8Array()).length
}

const sizes: Array<Size> = []
for (const [program, code] of programs) {
  const whole = await bundled(code, {})
  const ours = await bundled(code, { external: ["redis", "node:*", "effect", "effect/*", "@effect/*"] })
  sizes.push({ program, whole, ours })
}

const kilobytes = (bytes: number): string => `${(bytes / 1_000).toFixed(1)} kB`

if (process.argv.includes("--json")) console.log(JSON.stringify(sizes, null, 2))
else {
  for (const { ours, program, whole } of sizes) {
    console.log(
      `${program.padEnd(50)} ${kilobytes(whole).padStart(9)} ${kilobytes(ours).padStart(9)} of it this library`
    )
  }
  mkdirSync("bench/results", { recursive: true })
  writeFileSync("bench/results/sizes.json", `${JSON.stringify(sizes, null, 2)}\n`)
}
