/** Shows the fleet of the demonstration on a page: starts `effect-fuse serve` in a separate process. */
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import { ensurePage } from "../../scripts/page.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

/** Serves the page until the scope closes. Returns its address, or `undefined` if the page cannot be built or served. */
export const servePage = (redisUrl: string, prefix: string): Effect.Effect<string | undefined, never, Scope.Scope> =>
  Effect.gen(function* () {
    const built = yield* Effect.match(Effect.tryPromise(ensurePage), {
      onFailure: () => false,
      onSuccess: () => true
    })
    if (!built) return undefined
    const args = ["serve", "--redis", redisUrl, "--prefix", prefix, "--port", "0"]
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--conditions=@effect-fuse/source", main, ...args], {
          stdio: ["ignore", "pipe", "ignore"]
        })
      ),
      (child) => Effect.sync(() => child.kill())
    )
    // If an error ends the demonstration, its scope does not close.
    process.once("exit", () => child.kill())
    return yield* Effect.callback<string | undefined>((resume) => {
      child.once("error", () => resume(Effect.undefined))
      child.once("exit", () => resume(Effect.undefined))
      createInterface({ input: child.stdout }).on("line", (line) => {
        const [url] = /http:\/\/\S+/.exec(line) ?? []
        if (url !== undefined) resume(Effect.succeed(url))
      })
    })
  })
