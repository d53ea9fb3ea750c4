import { execFile } from "node:child_process"
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { type Kind, ownServer } from "./support/ownServer.ts"
import { root } from "./support/root.ts"
import { howToGet, lastLines, type Name, names, programsOf } from "./support/servers.ts"

/** A kind of server whose programs are shell scripts in a folder that counts their starts. */
const scripted = (script: { readonly prepare?: string; readonly serve: string }) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "scripted-"))),
      (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
    )
    // The server may run as a user of its own.
    chmodSync(folder, 0o777)
    const decided: Array<string> = []
    const counted = (name: string, text: string): [string, Array<string>] => {
      const file = join(folder, name)
      writeFileSync(
        file,
        `echo >> ${join(folder, `${name}-starts`)}\nn=$(wc -l < ${join(folder, `${name}-starts`)})\n${text}\n`
      )
      return ["/bin/sh", [file]]
    }
    const { prepare, serve } = script
    const kind: Kind<string> = {
      title: "Scripted",
      programs: async () => {
        decided.push("programs")
        return "/bin/sh"
      },
      user: () => {
        decided.push("user")
        return {}
      },
      ...(prepare === undefined ? {} : { prepare: () => counted("prepare", prepare) }),
      serve: () => counted("serve", serve),
      ready: /^ready$/m,
      signal: "SIGKILL",
      url: (port) => `scripted://127.0.0.1:${port}`
    }
    const starts = (name: string) => readFileSync(join(folder, `${name}-starts`), "utf8").length
    return { decided, kind, starts }
  })

/** The error of a server that cannot be installed or started. */
const failure = <A>(exit: Exit.Exit<A>): Error => {
  assert(Exit.isFailure(exit))
  const error = Cause.squash(exit.cause)
  assert(error instanceof Error)
  return error
}

describe("a server of a test's own", () => {
  it.live("is started again if it ends before it is ready", () =>
    Effect.gen(function* () {
      const { kind, starts } = yield* scripted({ serve: "[ $n -lt 3 ] && exit 1\necho ready\nexec sleep 1000" })
      yield* ownServer(kind)
      assert.strictEqual(starts("serve"), 3)
    })
  )

  it.live("creates its data folder again if that fails", () =>
    Effect.gen(function* () {
      const { kind, starts } = yield* scripted({ prepare: "[ $n -ge 3 ]", serve: "echo ready\nexec sleep 1000" })
      yield* ownServer(kind)
      assert.strictEqual(starts("prepare"), 3)
    })
  )

  it.live("runs all its programs as one user, which is decided once, after their installation", () =>
    Effect.gen(function* () {
      const { decided, kind } = yield* scripted({
        prepare: "[ $n -ge 2 ]",
        serve: "[ $n -lt 2 ] && exit 1\necho ready\nexec sleep 1000"
      })
      const { kill, start } = yield* ownServer(kind)
      yield* kill
      yield* start
      assert.deepStrictEqual(decided, ["programs", "user"])
    })
  )

  const many = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done"
  it.live.each([
    ["that never starts", { serve: `echo no memory; sleep 0.1; ${many} >&2; exit 1` }, "does not start"],
    [
      "whose data folder cannot be made",
      { prepare: `${many}; echo no memory >&2; exit 1`, serve: "" },
      "cannot make its data folder"
    ]
  ] as const)(
    "%s ends with one error: the end of its own output, and no stack trace",
    ([, script, what]) =>
      Effect.gen(function* () {
        const { kind } = yield* scripted(script)
        const { message, stack } = failure(yield* Effect.exit(ownServer(kind)))
        assert.match(message, new RegExp(`^Scripted ${what}\\. The end of its output:\n`))
        assert.include(message, "line 100")
        assert.include(message, "no memory")
        assert.notInclude(message, "line 80\n")
        assert.strictEqual(stack, `ServerFailed: ${message}`)
      }),
    60_000
  )
})

describe("servers that are missing", () => {
  it("are listed in one message with how to get each", () => {
    const text = howToGet(names, "only root can install them.")
    assert.match(text, /^These tests need servers that this machine does not have, and only root can install them\.\n/)
    assert.match(text, /\n.*SERVERS=none npm test$/)
    assert.strictEqual(text.match(/apt-get install \S/g)?.length, names.length)
    assert.strictEqual(text.match(/brew install \S/g)?.length, names.length)
    const one: ReadonlyArray<Name> = ["mariadb"]
    assert.include(howToGet(one, ""), "apt-get install mariadb-server-core mariadb-client-core\n")
    assert.notInclude(howToGet(one, ""), "PostgreSQL")
  })

  it("are explained with the end of what the installer printed", () => {
    const output = Array.from({ length: 50 }, (_, i) => `line ${i}`).join("\n")
    assert.deepStrictEqual(lastLines(`${output}\n\n`, 2), "line 48\nline 49")
  })
})

describe("a run with SERVERS=none", () => {
  it("runs the tests that need no server, leaves out the others, and prints at its end which servers they need", async () => {
    const env: NodeJS.ProcessEnv = { ...process.env, SERVERS: "none", NO_COLOR: "1", REDIS_URL: "", DATABASE_URL: "" }
    delete env["VITEST"]
    const args = [
      "node_modules/vitest/vitest.mjs",
      "run",
      "RedisStore.contract",
      "JobBreaker",
      "BreakerStore.shared.options"
    ]
    const out = await new Promise<string>((resolve, reject) =>
      execFile(process.execPath, args, { cwd: root, env }, (error, stdout, stderr) =>
        error === null ? resolve(stdout) : reject(new Error(`${stdout}\n${stderr}`))
      )
    )
    const [, passed = "0", skipped = "0"] = /Tests +(\d+) passed \| (\d+) skipped/.exec(out) ?? []
    assert.isAbove(Number(passed), 30)
    assert.match(
      out.trimEnd(),
      new RegExp(`\nSERVERS=none: ${skipped} tests in 3 files were left out\\. .*\n +${skipped} needs Redis$`)
    )
    assert.notInclude(out, "LeftOut")
  }, 120_000)
})

describe("a test file that is not listed as one with servers", () => {
  it("gets an error if it asks for a server, because an installation could take longer than a test", async () => {
    const error = await programsOf("redis").then(String, String)
    assert.match(error, /^ServerNotListed: .*withServers in vitest\.config\.ts/)
  })
})
