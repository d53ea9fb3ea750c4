import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { builtinModules } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, expect, it } from "@effect/vitest"

const root = fileURLToPath(new URL("..", import.meta.url))
const src = join(root, "src")

/**
 * The floors of the house, lowest first, and on each floor the files in their order: a file imports only from floors
 * below its own and from files before it on its own floor. With that there can be no circles.
 */
const floors: ReadonlyArray<readonly [floor: string, files: ReadonlyArray<string>]> = [
  [
    "pure",
    [
      "internal/printable",
      "internal/stamp",
      "internal/foreign",
      "internal/millis",
      "internal/retryAfter",
      "Outcome",
      "Window",
      "Trip",
      "internal/edges",
      "internal/override",
      "Circuit",
      "Fleet",
      "internal/evidence"
    ]
  ],
  [
    "shapes",
    [
      "internal/states",
      "internal/currentTenant",
      "internal/codec",
      "internal/rejections",
      "internal/bareError",
      "internal/fields",
      "CircuitOpen",
      "BulkheadFull",
      "BreakerEvent",
      "internal/overrides",
      "internal/transition",
      "internal/policy/policy",
      "internal/policy/schema",
      "internal/policy/environment",
      "internal/policy/settings",
      "BreakerPolicy",
      "internal/storeOptions"
    ]
  ],
  [
    "contract",
    [
      "internal/memory/ballots",
      "internal/memory/records",
      "SharedStore",
      "internal/unconnected",
      "internal/record",
      "internal/exported",
      "internal/known",
      "internal/quorum/bounded",
      "internal/quorum/kept",
      "internal/quorum/cursors",
      "internal/quorum/region",
      "internal/quorum/listener",
      "internal/quorum/quorum",
      "QuorumStore"
    ]
  ],
  [
    "engine",
    [
      "internal/engine/time",
      "internal/engine/eventLoop",
      "internal/engine/spans",
      "internal/engine/cooldown",
      "internal/engine/logEvent",
      "internal/engine/share",
      "internal/engine/budget",
      "internal/engine/durations",
      "internal/engine/misuse",
      "internal/engine/liveCircuit",
      "internal/engine/nesting",
      "internal/engine/sharing",
      "internal/engine/keyPolicies",
      "internal/engine/group",
      "internal/engine/runtime",
      "internal/engine/move",
      "internal/engine/registry",
      "internal/engine/standing",
      "internal/engine/dependencies",
      "internal/engine/passing",
      "internal/engine/inspection",
      "internal/engine/reading",
      "internal/engine/rejection",
      "internal/engine/verdict",
      "internal/engine/call",
      "internal/engine/steer",
      "internal/engine/transfer",
      "internal/replica/stall",
      "internal/replica/link",
      "internal/replica/ground",
      "internal/replica/hearing",
      "internal/replica/lanes",
      "internal/replica/restoring",
      "internal/replica/records",
      "internal/replica/evidence",
      "internal/replica/judging",
      "internal/replica/ballots",
      "internal/replica/places",
      "internal/replica/deeds",
      "internal/replica/pages",
      "internal/replica/repair",
      "internal/replica/replica",
      "BreakerStore"
    ]
  ],
  [
    "services",
    [
      "Tenant",
      "internal/service/options",
      "internal/service/classify",
      "internal/service/protect",
      "internal/service/control",
      "internal/service/batch",
      "CircuitBreaker",
      "internal/service/health",
      "BreakerHealth",
      "internal/service/metrics",
      "BreakerMetrics",
      "internal/service/pool",
      "CircuitPool",
      "Backoff",
      "Bulkhead",
      "internal/service/line",
      "internal/service/waiting",
      "internal/service/retry",
      "internal/service/hedge",
      "internal/service/pipeline",
      "Resilience"
    ]
  ],
  [
    "edges",
    [
      "Operator",
      "internal/simulate/trace",
      "internal/simulate/play",
      "internal/simulate/report",
      "internal/simulate/picture",
      "Simulator",
      "internal/connection/judge",
      "internal/connection/watched",
      "internal/connection/detached",
      "internal/connection/listening",
      "internal/connecting",
      "internal/serverUrl",
      "internal/redis/environment",
      "internal/redis/client",
      "internal/redis/scripts",
      "internal/redis/boxes",
      "internal/redis/exchange",
      "internal/redis/evaluate",
      "internal/redis/answers",
      "internal/redis/store",
      "RedisStore",
      "internal/sql/database",
      "internal/sql/place",
      "internal/sql/views",
      "internal/sql/migrations",
      "internal/sql/boxes",
      "internal/sql/lookUp",
      "internal/sql/polling",
      "internal/sql/exchange",
      "internal/sql/store",
      "SqlStore",
      "internal/sql/metadata",
      "internal/sql/trailRows",
      "internal/sql/trail",
      "internal/sql/questions",
      "internal/sql/snapshots",
      "internal/sql/auditService",
      "audit/AuditTrail",
      "audit/Snapshots",
      "audit",
      "EffectCircuitBreaker",
      "http/RetryAfter",
      "internal/http/failureOf",
      "internal/http/countedBody",
      "internal/http/tenantHeader",
      "internal/http/exempt",
      "http/HttpClientBreaker",
      "http/HttpServerBreaker",
      "http/BreakerRoutes",
      "http",
      "queue/JobBreaker",
      "queue/StreamBreaker",
      "queue",
      "internal/promise/types",
      "internal/promise/trips",
      "internal/promise/errors",
      "internal/promise/metrics",
      "internal/promise/distributed",
      "internal/promise/cooldowns",
      "internal/promise/responses",
      "internal/promise/held",
      "internal/promise/signals",
      "internal/promise/clock",
      "internal/promise/redis",
      "internal/promise/home",
      "internal/promise/streams",
      "internal/promise/options",
      "internal/promise/manager",
      "internal/promise/wrapped",
      "promise",
      "internal/contract/bench",
      "internal/contract/records",
      "internal/contract/ballots",
      "internal/contract/rollCalls",
      "internal/contract/exchanges",
      "internal/contract/changes",
      "testing/SharedStoreContract",
      "internal/testing/trouble",
      "testing/CircuitTest",
      "testing/Dependency",
      "testing/TestFleet",
      "testing"
    ]
  ],
  [
    "command line",
    [
      "internal/cli/sqlite",
      "internal/cli/grouped",
      "internal/cli/words",
      "internal/cli/table",
      "internal/cli/files",
      "internal/cli/actor",
      "internal/cli/settings",
      "internal/cli/flags",
      "internal/cli/place",
      "internal/cli/circuits",
      "internal/cli/known",
      "internal/cli/history",
      "internal/cli/rows",
      "internal/cli/looking",
      "internal/cli/question",
      "internal/cli/recording",
      "internal/cli/steering",
      "internal/cli/moving",
      "internal/cli/doctor",
      "internal/cli/simulate",
      "internal/cli/command",
      "internal/cli/program",
      "internal/cli/main"
    ]
  ],
  ["root", ["index"]]
]

/** Public modules that are sub-paths of their own and not in the root. */
const edges: ReadonlyArray<string> = [
  "Operator",
  "Simulator",
  "RedisStore",
  "SqlStore",
  "audit",
  "audit/AuditTrail",
  "audit/Snapshots",
  "EffectCircuitBreaker",
  "http",
  "http/BreakerRoutes",
  "http/HttpClientBreaker",
  "http/HttpServerBreaker",
  "http/RetryAfter",
  "promise",
  "queue",
  "queue/JobBreaker",
  "queue/StreamBreaker",
  "testing",
  "testing/CircuitTest",
  "testing/Dependency",
  "testing/SharedStoreContract",
  "testing/TestFleet"
]

/** What is not marked stable in Effect, and who may use it: files behind a sub-path. */
const unstable: ReadonlyArray<readonly [folder: string, files: ReadonlyArray<string>]> = [
  [
    "effect/persistence/",
    [
      "internal/redis/client",
      "internal/redis/evaluate",
      "internal/redis/store",
      "RedisStore",
      "EffectCircuitBreaker",
      "queue/JobBreaker",
      "internal/cli/place"
    ]
  ],
  ["effect/reactivity/", ["internal/cli/sqlite"]],
  ["effect/crypto/", ["internal/redis/evaluate"]],
  ["effect/testing/", ["testing/TestFleet"]],
  [
    "effect/sql/",
    [
      "internal/sql/database",
      "internal/sql/views",
      "internal/sql/migrations",
      "internal/sql/boxes",
      "internal/sql/lookUp",
      "internal/sql/polling",
      "internal/sql/exchange",
      "internal/sql/store",
      "SqlStore",
      "internal/sql/trailRows",
      "internal/sql/trail",
      "internal/sql/questions",
      "internal/sql/snapshots",
      "internal/sql/auditService",
      "audit/AuditTrail",
      "audit/Snapshots",
      "internal/cli/sqlite",
      "internal/cli/place",
      "internal/cli/doctor"
    ]
  ],
  [
    "effect/cli/",
    ["settings", "flags", "table", "question", "command", "program"].map((file) => `internal/cli/${file}`)
  ],
  [
    "effect/http/",
    [
      "internal/http/countedBody",
      "internal/http/tenantHeader",
      "http/HttpClientBreaker",
      "http/HttpServerBreaker",
      "http/BreakerRoutes"
    ]
  ]
]

/** Packages that users may have, loaded only where one asks for them. */
const optional: ReadonlyArray<readonly [specifier: string, file: string]> = [
  ["redis", "internal/redis/client"],
  ["@effect/sql-pg", "internal/cli/place"],
  ["@effect/platform-node/NodeServices", "internal/cli/program"],
  ["@effect/platform-node/NodeRuntime", "internal/cli/program"]
]

/** The dependencies of the package, each with the only file that imports it. Only the command line needs them. */
const dependencies: ReadonlyArray<readonly [specifier: string, file: string]> = [
  ["string-width", "internal/cli/table"],
  ["leven", "internal/cli/known"]
]

/** Who needs a machine with Node on it: everything else runs wherever Effect does. */
const isNodes = (file: string, specifier: string) => file.startsWith("internal/cli/") && specifier.startsWith("node:")

const order = floors.flatMap(([, files]) => files)
const floorOf = (file: string) => floors.findIndex(([, files]) => files.includes(file))

const withoutComments = (text: string) => text.replaceAll(/\/\*\*[\s\S]*?\*\//g, "")

const sources = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => ({ name: path.slice(0, -3), text: readFileSync(join(src, path), "utf8") }))

/** Every module that a file names, whether for its values or for its types. */
const importsOf = (text: string): ReadonlyArray<string> =>
  Array.from(
    withoutComments(text).matchAll(/^(?:import|export)\s[^"']*?from\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm),
    (m) => m[1] ?? m[2] ?? ""
  )

const local = (file: string, specifier: string) =>
  relative(src, join(src, dirname(file), specifier)).replace(/\.ts$/, "")

const publicModules = sources.filter(({ name }) => !name.startsWith("internal/") && name !== "index")

describe("the house", () => {
  it("every file stands on a floor, and every place has its file", () => {
    assert.deepStrictEqual([...order].sort(), sources.map(({ name }) => name).sort())
  })

  it.each(sources)("$name imports only from below, types included", ({ name, text }) => {
    for (const specifier of importsOf(text).filter((one) => one.startsWith("."))) {
      const target = local(name, specifier)
      assert.include(order, target, `${name} imports ${specifier}`)
      assert.isBelow(
        order.indexOf(target),
        order.indexOf(name),
        `${name} (${floors[floorOf(name)]?.[0]}) imports ${target}`
      )
    }
  })

  it("the pure floor knows nothing of Effect but durations", () => {
    for (const { name, text } of sources.filter(({ name }) => floorOf(name) === 0)) {
      const outside = importsOf(text).filter((one) => !one.startsWith("."))
      assert.deepStrictEqual(
        outside.filter((one) => one !== "effect/Duration"),
        [],
        name
      )
      assert.notMatch(text, /\b(Date\.now|performance\.now|Math\.random|setTimeout)\b/, name)
    }
  })

  it("only stable modules of Effect are imported, each by itself and not through the barrel", () => {
    for (const { name, text } of sources) {
      const folders = unstable.flatMap(([folder, files]) => (files.includes(name) ? [folder] : []))
      const allowed = (one: string) =>
        folders.some((folder) => one.startsWith(folder) && /^[A-Z]\w+$/.test(one.slice(folder.length))) ||
        [...optional, ...dependencies].some(([specifier, file]) => one === specifier && name === file)
      for (const one of importsOf(text).filter((one) => !one.startsWith(".") && !allowed(one) && !isNodes(name, one))) {
        assert.match(one, /^effect\/[A-Z][A-Za-z]+$/, `${name} imports ${one}`)
        const module = readFileSync(join(root, "node_modules/effect/src", `${one.slice("effect/".length)}.ts`), "utf8")
        assert.include(module, "@stability stable", `${name} imports ${one}`)
      }
    }
  })

  it("only the command line uses the dependencies of the package", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    assert.deepStrictEqual(Object.keys(manifest.dependencies).sort(), dependencies.map(([name]) => name).sort())
  })

  it("only the command line imports what Node alone has: everything else runs in a browser, too", () => {
    for (const { name, text } of sources.filter(({ name }) => !name.startsWith("internal/cli/"))) {
      const ofNode = importsOf(text).filter((one) => one.startsWith("node:") || builtinModules.includes(one))
      assert.deepStrictEqual(ofNode, [], name)
    }
  })

  it("no file is longer than 450 lines, but for comments", () => {
    for (const { name, text } of sources) {
      const code = withoutComments(text)
        .split("\n")
        .filter((line) => line.trim() !== "")
      assert.isAtMost(code.length, 450, name)
      assert.isAtMost(text.split("\n").length, 500, name)
    }
  })
})

describe("the public surface", () => {
  it("every public module is a namespace of the root, or a sub-path of its own, which the root does not load", () => {
    const index = sources.find(({ name }) => name === "index")?.text ?? ""
    const namespaces = Array.from(index.matchAll(/export \* as (\w+) from "\.\/(\w+)\.ts"/g), ([, name, file]) => [
      name,
      file
    ])
    const inRoot = publicModules.filter(({ name }) => !edges.includes(name))
    assert.deepStrictEqual(namespaces, inRoot.map(({ name }) => [name, name]).sort())
  })

  it("what is behind a sub-path is imported by nothing but what is behind one", () => {
    const behind = floors
      .filter(([floor]) => floor === "edges" || floor === "command line")
      .flatMap(([, files]) => files)
    assert.includeMembers([...behind], [...edges])
    for (const { name, text } of sources.filter(({ name }) => !behind.includes(name))) {
      const targets = importsOf(text).map((one) => local(name, one))
      assert.deepStrictEqual(
        targets.filter((one) => behind.includes(one)),
        [],
        name
      )
    }
  })

  it.each(publicModules)(
    "$name and everything it exports is documented, and the module says the version it came with",
    ({ name, text }) => {
      assert.match(text, /^\/\*\*\n \* [^\n]+\n/, `${name} begins with what it is for`)
      assert.match(text.slice(0, text.indexOf("*/")), /@since \d/, name)
      const lines = text.split("\n")
      lines.forEach((line, index) => {
        if (!/^export (const|class|interface|type|function) \w/.test(line)) return
        const above = lines.slice(0, index).join("\n")
        const comment = above.slice(above.lastIndexOf("/**"))
        assert.match(comment, /\*\/\s*$/, `${name}: ${line}`)
        assert.match(comment, /@category /, `${name}: ${line}`)
      })
    }
  )

  it("internal modules cannot be imported, and every other path leads to a file", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    assert.strictEqual(exports["./internal/*"], null)
    assert.strictEqual(exports["."]["@effect-fuse/source"], "./src/index.ts")
    assert.strictEqual(exports["."].default, "./dist/index.js")
  })

  // A change of the surface shows in review as a change of that file; `npx vitest run architecture -u` writes it.
  it("is what test/public-surface.txt says", async () => {
    const out = mkdtempSync(join(tmpdir(), "surface-"))
    try {
      const tsc = join(root, "node_modules/typescript/bin/tsc")
      const args = [
        "-p",
        "tsconfig.build.json",
        "--outDir",
        out,
        "--emitDeclarationOnly",
        "--declarationMap",
        "false",
        "--removeComments"
      ]
      execFileSync(process.execPath, [tsc, ...args], { cwd: root })
      // Types that public modules export from an internal one belong to the surface too.
      const surface = [...publicModules, { name: "internal/policy/policy" }, { name: "internal/engine/inspection" }]
        .map(({ name }) => `// ${name}\n\n${readFileSync(join(out, `${name}.d.ts`), "utf8")}`)
        .sort()
        .join("\n")
      await expect(surface).toMatchFileSnapshot("public-surface.txt")
      // Who has no Effect sees none: what the declarations of `promise` name, they and theirs.
      const named = new Set(["promise"])
      for (const file of named) {
        for (const one of importsOf(readFileSync(join(out, `${file}.d.ts`), "utf8"))) {
          assert.match(one, /^\./, `${file}.d.ts imports ${one}`)
          named.add(local(file, one))
        }
      }
      assert.include([...named], "internal/promise/types")
    } finally {
      rmSync(out, { recursive: true, force: true })
    }
  })
})
