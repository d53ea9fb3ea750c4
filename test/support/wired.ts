import { Effect } from "effect"
import type { ServerGround } from "./databases.ts"
import { redisProxy } from "./redisProxy.ts"

/** A database, a way to it, and a wire to it that can be slow, silent or cut. */
export const wired = ({ connect, place, server }: ServerGround) =>
  Effect.gen(function* () {
    const { port } = yield* server
    const { open, url } = yield* place
    const wire = yield* redisProxy(port)
    const through = connect(url.replace(`:${port}/`, `:${new URL(wire.url).port}/`))
    // Clients say goodbye when they are closed.
    const opened = Effect.tap(through, () => Effect.addFinalizer(() => Effect.andThen(wire.mend, wire.cut)))
    return { admin: yield* open, open: opened, wire }
  })
