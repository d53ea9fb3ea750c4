import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/**
 * Opens something in a scope of its own, which is closed in the background. Some clients cannot interrupt an attempt to connect, or
 * wait when they close for the answer of a server that hangs. The caller's scope does not wait for either.
 */
export const detached = <A, E, R>(
  open: Effect.Effect<A, E, R>,
  finalizers: "sequential" | "parallel" = "sequential"
): Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    const own = yield* Scope.make(finalizers)
    const opening = yield* Effect.forkDetach(Scope.provide(open, own))
    const close = Effect.andThen(Fiber.await(opening), Scope.close(own, Exit.void))
    yield* Effect.addFinalizer(() => Effect.forkDetach(close))
    return yield* Fiber.join(opening)
  })
