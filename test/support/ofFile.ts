import { Cause, Effect, Exit, Scope } from "effect"
import { afterAll, beforeAll } from "vitest"
import { remember } from "./servers.ts"

/**
 * A resource that the tests of a file, or of a `describe`, share. The first test that asks for it creates it, and it is released
 * after the last test. If it cannot be created, each test that asks for it fails or is skipped, and the others run.
 */
export const ofFile = <A>(resource: Effect.Effect<A, never, Scope.Scope>): Effect.Effect<A> => {
  const scope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const shared = Effect.runSync(Effect.cached(Scope.provide(resource, scope)))
  return Effect.tapCause(shared, (cause) => Effect.sync(() => remember(Cause.squash(cause))))
}

/** Starts the server before the first test of the file or `describe`, because a start may take longer than the limit of a test. */
export const madeBefore = <A>(shared: Effect.Effect<A>): Effect.Effect<A> => {
  beforeAll(() => Effect.runPromise(Effect.asVoid(Effect.exit(shared))), 300_000)
  return shared
}
