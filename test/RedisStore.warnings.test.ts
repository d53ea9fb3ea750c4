import { spawn } from "node:child_process"
import { connect } from "node:net"
import { assert, describe } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { run } from "./support/commandLine.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { client, freePort, redisServer } from "./support/redisServer.ts"
import { hasOpenssl, selfSignedRedis } from "./support/redisTls.ts"
import { root } from "./support/root.ts"
import { capture, type Line } from "./support/verbs.ts"

const password = "correct-horse-battery"
const wrong = "wr0ng-p4ssword"

const say = (port: number, command: string) =>
  Effect.promise(
    () =>
      new Promise<void>((resolve, reject) => {
        const socket = connect(port, "127.0.0.1", () => socket.write(`${command}\r\n`))
        socket.once("data", () => {
          socket.destroy()
          resolve()
        })
        socket.once("error", reject)
      })
  )

const locked = Effect.tap(redisServer, ({ port }) => say(port, `CONFIG SET requirepass ${password}`))

/** Reasons why a client cannot use Redis: its URL, and the cause that the warning must name. */
const troubles: ReadonlyArray<readonly [what: string, url: Effect.Effect<string, never, Scope.Scope>, named: RegExp]> =
  [
    ["a wrong password", Effect.map(locked, ({ port }) => `redis://:${wrong}@127.0.0.1:${port}`), /WRONGPASS/],
    ["no password", Effect.map(locked, ({ port }) => `redis://127.0.0.1:${port}`), /NOAUTH/],
    ["nothing that listens", Effect.map(freePort, (port) => `redis://127.0.0.1:${port}`), /ECONNREFUSED/],
    ["a name that is not found", Effect.succeed("redis://no-such-host.invalid:6379"), /ENOTFOUND|EAI_AGAIN/],
    ...(hasOpenssl
      ? [["a self-signed certificate", Effect.map(selfSignedRedis, ({ url }) => url), /SELF_SIGNED_CERT/] as const]
      : [])
  ]

/** Long enough for several attempts to connect, so that a second warning would appear. */
const severalAttempts = Effect.sleep("2500 millis")

const isOneWarning = (warnings: ReadonlyArray<string>, named: RegExp) => {
  assert.lengthOf(warnings, 1, warnings.join("\n"))
  assert.match(warnings[0] ?? "", named)
  assert.notInclude(warnings.join(), wrong)
}

describe.each(troubles)("%s", (_, url, named) => {
  live(
    "is one warning in the log of a program with Effect",
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const store = RedisStore.layerConnect(client(yield* url), { syncInterval: 200 })
      const program = Effect.gen(function* () {
        yield* until(
          "warned",
          Effect.sync(() => lines.some(({ level }) => level === "Warn"))
        )
        yield* severalAttempts
        assert.strictEqual(yield* CircuitBreaker.protect(Effect.succeed("ok"), "api"), "ok")
      })
      yield* capture(lines, Effect.provide(program, Layer.provideMerge(store, BreakerPolicy.layer({}))))
      const warnings = lines.filter(({ level }) => level !== "Info" && level !== "Debug").map(({ message }) => message)
      isOneWarning(warnings, named)
    }),
    60_000
  )

  for (const [what, options, from] of [
    ["one warning of a process without Effect", "", "stderr"],
    [
      "one line of the log of a process without Effect that has one",
      ", log: (level, text) => console.log(level, text)",
      "stdout"
    ]
  ] as const) {
    live(
      `is ${what}`,
      Effect.gen(function* () {
        const code = `
          import { createBreaker } from "effect-fuse/promise"
          const breaker = createBreaker(async () => "ok", { name: "api", redis: ${JSON.stringify(yield* url)}${options} })
          await breaker.execute()
          await new Promise((resolve) => setTimeout(resolve, 4000))
          await breaker.execute()`
        const args = [
          "--conditions=@effect-fuse/source",
          "--disable-warning=ExperimentalWarning",
          "--input-type=module"
        ]
        const child = spawn(process.execPath, [...args, "--eval", code], { cwd: root })
        yield* Effect.addFinalizer(() => Effect.sync(() => void child.kill("SIGKILL")))
        const said = { stdout: "", stderr: "" }
        child.stdout.on("data", (data) => {
          said.stdout += data
        })
        child.stderr.on("data", (data) => {
          said.stderr += data
        })
        const ended = yield* Effect.promise(() => new Promise((resolve) => child.once("close", resolve)))
        assert.strictEqual(ended, 0, said.stderr)
        const warnings = said[from].split("\n").filter((line) => line !== "" && !line.startsWith("(Use"))
        isOneWarning(warnings, named)
        if (from === "stderr") assert.include(warnings[0], "EffectFuseWarning")
        else assert.match(warnings[0] ?? "", /^warn /)
      }),
      60_000
    )
  }

  live(
    "is one error in the command line",
    Effect.gen(function* () {
      const { code, error, out } = yield* run(["list", "--redis", yield* url])
      assert.deepStrictEqual([code, out], [2, ""], error)
      // A second line says what to do about a password.
      const [first = "", ...advice] = error.trim().split("\n")
      isOneWarning([first], named)
      assert.deepStrictEqual(
        advice,
        /NOAUTH|WRONGPASS/.test(first) ? ["Check the user and the password in the URL."] : [],
        error
      )
    }),
    60_000
  )
})
