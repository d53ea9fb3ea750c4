import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { root } from "./support/root.ts"

// The declarations as a user's compiler sees them: checked, and not skipped as in most projects.

const tsc = join(root, "node_modules/typescript/bin/tsc")

const run = (cwd: string, ...args: ReadonlyArray<string>): string => {
  const { stderr, stdout } = spawnSync(process.execPath, [tsc, ...args], { cwd, encoding: "utf8" })
  return stdout + stderr
}

let folder = ""
const installed = () => join(folder, "node_modules/effect-fuse")

beforeAll(() => {
  mkdirSync(join(root, ".tmp"), { recursive: true })
  folder = mkdtempSync(join(root, ".tmp/declarations-"))
  mkdirSync(installed(), { recursive: true })
  const out = ["--outDir", join(installed(), "dist"), "--emitDeclarationOnly", "--declarationMap", "false"]
  assert.strictEqual(run(root, "-p", "tsconfig.build.json", ...out), "")
  cpSync(join(root, "package.json"), join(installed(), "package.json"))
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }))
  symlinkSync(join(root, "node_modules/effect"), join(folder, "node_modules/effect"))
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a compiler says about a program and the declarations of this package; those of others are not ours. */
const compiled = (program: string, lib: string, ...more: ReadonlyArray<string>): string => {
  const file = join(mkdtempSync(join(folder, "program-")), "program.ts")
  writeFileSync(file, program)
  const flags = [
    "--noEmit",
    "--strict",
    "--exactOptionalPropertyTypes",
    "--skipLibCheck",
    "false",
    "--target",
    "es2022"
  ]
  const resolution = ["--module", "nodenext", "--ignoreConfig", "--lib", lib, "--types", ""]
  return run(dirname(file), ...flags, ...resolution, ...more, file)
    .split("\n")
    .filter((line) => /^(program\.ts|\S*node_modules\/effect-fuse\/|error)/.test(line))
    .join("\n")
}

const promise = `
import { CircuitOpenError, createBreaker, createManager, protect, trip, wrap } from "effect-fuse/promise"

interface User { readonly id: number; readonly name: string }
declare const load: (id: number) => Promise<User>
export const plain: Promise<User> = createBreaker(load, { name: "users", trip: trip.consecutive(2) }).execute(1)
export const orNull: Promise<User | null> = createBreaker(load, { fallback: () => null }).execute(1)

// Optional, rest and default arguments stay so, whatever a fallback takes of them.
declare const opt: (a: string, b?: number) => Promise<string>
export const all: ReadonlyArray<Promise<string>> = [
  createBreaker(opt).execute("x"),
  createBreaker(opt, { fallback: () => "y" }).execute("x"),
  createBreaker(opt, { fallback: (_) => "y" }).execute("x"),
  createBreaker(opt, { fallback: (_, a) => a }).execute("x"),
  createBreaker(opt, { fallback: (_, a, b) => a + (b ?? 0).toFixed() }).execute("x"),
  createBreaker(opt, { fallback: (_, a, b?) => a + (b ?? 0).toFixed() }).execute("x", 1),
  createBreaker(opt, { fallback: (_, ...rest) => rest[0] }).execute("x"),
  createManager().register("n", opt, { fallback: (_, a, b) => a + (b ?? 0).toFixed() }).execute("x"),
  wrap(opt, { fallback: (_, a, b) => a + (b ?? 0).toFixed() })("x")
]
declare const rest: (a: string, ...more: ReadonlyArray<number>) => Promise<string>
const r = createBreaker(rest, { fallback: (_, a, ...more) => a + more.length })
export const rests = [r.execute("x"), r.execute("x", 1, 2)]
declare const optional: (a?: string) => Promise<string>
export const none = createBreaker(optional, { fallback: (_, a) => a ?? "none" }).execute()
export const one: Promise<"a" | "b"> = createBreaker(async (x: "a" | "b") => x, { fallback: (_, x) => x }).execute("a")
export const sync: Promise<number> = createBreaker((n: number) => n + 1, { fallback: () => 0 }).execute(1)
export const nothing: Promise<void> = createBreaker(async (): Promise<void> => {}, { fallback: () => {} }).execute()
export const generic: Promise<string> = wrap(async <T>(x: T): Promise<T> => x)("x")
declare const overloaded: { (a: string): Promise<string>; (a: number): Promise<number> }
export const [text, number]: readonly [Promise<string>, Promise<number>] = [wrap(overloaded)("x"), wrap(overloaded)(1)]

// @ts-expect-error an argument is missing
createBreaker(opt, { fallback: (_, a, b) => a + b }).execute()
// @ts-expect-error a fallback gets what the function gets
createBreaker(opt, { fallback: (_, a: number) => "y" })
// @ts-expect-error no such option
createBreaker(opt, { retries: 2 })

export const signal = createBreaker(async function (path: string) { return this.signal.aborted ? "" : path })
export const context = signal.run(({ signal }) => signal.aborted)
export const dispose: () => PromiseLike<void> = signal[Symbol.asyncDispose]
export const using = async () => { await using own = createBreaker(load); return own.execute(1) }
export const isOpen = (error: unknown): boolean => error instanceof CircuitOpenError && error.retryAfter > 0
export class Users { @protect({ timeout: "2 seconds" }) async find(id: number) { return id } }
`

const effects = `
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"
import * as Effect from "effect/Effect"

export const numbers = Resilience.standard("api", { retry: 2 })(Effect.succeed(1))
export const none = Resilience.standard("api", { retry: false, timeout: false, bulkhead: false })
export const some = Resilience.standard("api", { retry: { times: 2 }, breaker: { key: "a" }, timeout: "2 seconds" })
export const run = CircuitBreaker.protect(numbers, "api").pipe(Effect.provide(BreakerStore.layerMemory))

// What throws does not compile.
// @ts-expect-error
Resilience.standard("api", { retry: "often" })
// @ts-expect-error
Resilience.standard("api", { retry: true })
// @ts-expect-error
Resilience.standard("api", { retry: [] })
// @ts-expect-error
Resilience.standard("api", { retry: () => 2 })
// @ts-expect-error
Resilience.standard("api", { retry: { tmes: 2 } })
// @ts-expect-error
Resilience.standard("api", { breaker: 2 })
// @ts-expect-error
Resilience.standard("api", { breaker: "users" })
// @ts-expect-error
Resilience.standard("api", { breaker: false })
// @ts-expect-error
Resilience.standard("api", { timeout: true })
// @ts-expect-error
Resilience.standard("api", { bulkhead: 2 })
// @ts-expect-error
Resilience.standard("api", { retries: 2 })
`

describe("the declarations compile, checked themselves:", () => {
  for (const [lib, what] of [
    ["es2023", "with ES2023 alone, neither the DOM nor Node"],
    ["es2023,dom", "with the DOM and without Node"]
  ] as const) {
    it(`effect-fuse/promise ${what}`, () => assert.strictEqual(compiled(promise, lib), ""), 60_000)
    it(`the root ${what}`, () => assert.strictEqual(compiled(effects, lib), ""), 60_000)
  }

  it("a signal of effect-fuse/promise is that of fetch", () => {
    const program = `
import { createBreaker } from "effect-fuse/promise"
export const page = createBreaker(async function (url: string) { return fetch(url, { signal: this.signal }) })
export const mine = page.with({ signal: new AbortController().signal }).execute("/")
`
    assert.strictEqual(compiled(program, "es2023,dom"), "")
  }, 60_000)

  it("every public module, without Node's types", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const modules = Object.keys(exports)
      .filter((path) => path !== "." && path !== "./package.json")
      .map((path) => path.slice(2))
    assert.isAbove(modules.length, 30)
    const program = modules.map((name, i) => `export * as M${i} from "effect-fuse/${name}"`).join("\n")
    assert.strictEqual(compiled(program, "es2023,dom"), "")
  }, 60_000)

  it("and the test sees an error in them", () => {
    assert.include(compiled(`import { nothing } from "effect-fuse"\nexport { nothing }`, "es2023,dom"), "nothing")
    const file = join(installed(), "dist/promise/index.d.ts")
    const text = readFileSync(file, "utf8")
    writeFileSync(file, `${text}\nexport declare const broken: Nowhere\n`)
    try {
      assert.include(compiled(promise, "es2023"), "Nowhere")
    } finally {
      writeFileSync(file, text)
    }
  }, 60_000)
})
