import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "node:tls"
import { Effect, type Scope } from "effect"
import { endedWithTests, hasExited, onPath, programOf } from "./programs.ts"
import { freePort, program } from "./redisServer.ts"

const started = endedWithTests("SIGKILL")

/** Whether certificates can be made here. */
export const openssl: string | undefined = programOf(["openssl"], [...onPath(), "/usr/bin"])

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once("secureConnect", () => end(true))
    socket.once("error", () => end(false))
  })

/** The port of a Redis with TLS and a certificate that its own key has signed, which no client trusts. */
export const selfSignedRedis: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "redis-tls-"))
  let child: ChildProcess | undefined
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      child?.kill("SIGKILL")
      rmSync(folder, { recursive: true, force: true })
    })
  )
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
  const made = [
    "req",
    "-x509",
    "-nodes",
    ...curve,
    "-keyout",
    key,
    "-out",
    cert,
    "-days",
    "2",
    "-subj",
    "/CN=localhost"
  ]
  execFileSync(openssl ?? "openssl", made, { stdio: "ignore" })
  for (let i = 0; i < 20; i++) {
    const port = yield* freePort
    const tls = ["--tls-port", String(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
    const rest = ["--port", "0", "--tls-auth-clients", "no", "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    const one = spawn(program(), [...tls, ...rest], { stdio: "ignore" })
    child = one
    started.add(one)
    one.once("exit", () => started.delete(one))
    while (!hasExited(one)) {
      if (yield* Effect.promise(() => accepts(port))) return port
      yield* Effect.sleep(20)
    }
  }
  return yield* Effect.die(new Error("redis-server with TLS does not start"))
})
