import { execFileSync } from "node:child_process"
import { join } from "node:path"
import type { Effect, Scope } from "effect"
import { type OwnServer, ownServer } from "./ownServer.ts"
import { programsOf, userOf } from "./servers.ts"

/** Whether certificates can be made on this machine. */
export const hasOpenssl = (() => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

const pem = (folder: string) => ({ key: join(folder, "key.pem"), cert: join(folder, "cert.pem") })

/** A Redis with TLS. Its certificate is self-signed, so clients do not trust it. */
export const selfSignedRedis: Effect.Effect<OwnServer, never, Scope.Scope> = ownServer({
  title: "Redis-TLS",
  programs: () => programsOf("redis"),
  user: () => userOf("redis"),
  prepare: (_, folder) => {
    const { cert, key } = pem(folder)
    const elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    return ["openssl", ["req", "-x509", "-nodes", ...elliptic, "-keyout", key, "-out", cert, "-subj", "/CN=localhost"]]
  },
  serve: ({ server }, folder, port) => {
    const { cert, key } = pem(folder)
    const tls = ["--tls-port", String(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
    return [
      server,
      [...tls, "--port", "0", "--tls-auth-clients", "no", "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    ]
  },
  ready: /Ready to accept connections/,
  signal: "SIGKILL",
  url: (port) => `rediss://127.0.0.1:${port}`
})
