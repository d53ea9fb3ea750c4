import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { BulkheadFull } from "../shapes/BulkheadFull.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"

export const PipelineTypeId: unique symbol = Symbol.for("effect-fuse/Resilience/Pipeline")

/**
 * A function of an effect. Its type parameters describe what it adds to the effect.
 *
 * - `E`: the errors that it adds.
 * - `R`: the services that it needs.
 * - `B`: the results that it may add.
 * - `In`: the errors that it can handle; `unknown` for all.
 * - `Kept`: which of the effect's own errors remain: `unknown` for all of them, `never` for none.
 */
export interface Pipeline<out E = never, out R = never, out B = never, in In = unknown, out Kept = unknown> {
  <A, E1 extends In, R1>(self: Effect.Effect<A, E1, R1>): Effect.Effect<A | B, E | (E1 & Kept), R | R1>
  readonly [PipelineTypeId]: {
    readonly E: () => E
    readonly R: () => R
    readonly B: () => B
    readonly In: (error: In) => void
    readonly Kept: () => Kept
  }
  /** The names of its parts, the innermost first. */
  readonly parts: ReadonlyArray<string>
}

// biome-ignore lint/suspicious/noExplicitAny: any pipeline, whatever it adds
export type Any = Pipeline<any, any, any, any, any>

type Types<P extends Any> = P[typeof PipelineTypeId]
type ErrorOf<P extends Any> = ReturnType<Types<P>["E"]>
type ServicesOf<P extends Any> = ReturnType<Types<P>["R"]>
type AnswerOf<P extends Any> = ReturnType<Types<P>["B"]>
type InputOf<P extends Any> = Parameters<Types<P>["In"]>[0]
type KeptOf<P extends Any> = ReturnType<Types<P>["Kept"]>

/** The type of a composition, with `P` inside `Q`. */
export type Then<P extends Any, Q extends Any> = Pipeline<
  ErrorOf<Q> | (ErrorOf<P> & KeptOf<Q>),
  ServicesOf<P> | ServicesOf<Q>,
  AnswerOf<P> | AnswerOf<Q>,
  [KeptOf<P>] extends [never] ? InputOf<P> : InputOf<P> & InputOf<Q>,
  KeptOf<P> & KeptOf<Q>
>

/** The pipelines that can handle the errors that `P` adds. */
// biome-ignore lint/suspicious/noExplicitAny: whatever it adds itself
export type Takes<P extends Any> = Pipeline<any, any, any, ErrorOf<P>, any>

export interface Compose {
  <P1 extends Any>(p1: P1): P1
  <P1 extends Any, P2 extends Takes<P1>>(p1: P1, p2: P2): Then<P1, P2>
  <P1 extends Any, P2 extends Takes<P1>, P3 extends Takes<Then<P1, P2>>>(p1: P1, p2: P2, p3: P3): Then<Then<P1, P2>, P3>
  <P1 extends Any, P2 extends Takes<P1>, P3 extends Takes<Then<P1, P2>>, P4 extends Takes<Then<Then<P1, P2>, P3>>>(
    p1: P1,
    p2: P2,
    p3: P3,
    p4: P4
  ): Then<Then<Then<P1, P2>, P3>, P4>
  <
    P1 extends Any,
    P2 extends Takes<P1>,
    P3 extends Takes<Then<P1, P2>>,
    P4 extends Takes<Then<Then<P1, P2>, P3>>,
    P5 extends Takes<Then<Then<Then<P1, P2>, P3>, P4>>
  >(
    p1: P1,
    p2: P2,
    p3: P3,
    p4: P4,
    p5: P5
  ): Then<Then<Then<Then<P1, P2>, P3>, P4>, P5>
}

export const isPipeline = (value: unknown): value is Any => typeof value === "function" && PipelineTypeId in value

type Apply = (self: Effect.Effect<unknown, unknown>) => Effect.Effect<unknown, unknown>

/** Builds a pipeline. TypeScript cannot derive the type of the pipeline from `apply`, so the caller chooses `P`, and the cast sets it. */
export const makePipeline = <P extends Any>(parts: ReadonlyArray<string>, apply: Apply): P =>
  Object.assign((self: Effect.Effect<unknown, unknown>) => apply(self), {
    [PipelineTypeId]: undefined,
    parts
  }) as unknown as P

// ---- The types of the standard pipeline -----------------------------------------------------------------------------

type At<O, Part extends string> = Part extends keyof O ? O[Part] : undefined

export type StandardErrors<O> =
  | CircuitOpen
  | ([At<O, "timeout">] extends [false] ? never : Cause.TimeoutError)
  | ([At<O, "bulkhead">] extends [false | undefined] ? never : BulkheadFull)

/** The effect of the fallback; `never` if there is none. */
export type Fallback<O> = Made<Exclude<At<O, "fallback">, undefined>>
type Made<F> = F extends (...args: never) => infer Effect ? Effect : F

/** The errors that a function can handle; `unknown` if there is no function. */
type Handles<F> = F extends (error: infer E) => unknown ? E : unknown
type HandlesExit<F> = F extends (exit: Exit.Exit<unknown, infer E>) => unknown ? E : unknown
type FieldOf<O, Part extends string, Field extends string> = At<At<O, Part>, Field>

type OfBreaker<O> = Handles<FieldOf<O, "breaker", "isFailure">> &
  Handles<FieldOf<O, "breaker", "isIgnored">> &
  HandlesExit<FieldOf<O, "breaker", "classify">>
/** `while` need not handle `CircuitOpen`, which the retry never passes to it. */
type OfRetry<O> = Handles<FieldOf<O, "retry", "while">> | CircuitOpen
type OfFallback<O> = Handles<At<O, "fallback">>

/** The compiler shows this type if an option's function does not accept all errors that reach it. */
type Untaken<Option extends string, E> = { readonly [Name in `${Option} must take this error, too`]: E }

/**
 * The errors that the call may have: every function in the options must handle them. Each must also handle the errors of the policies
 * inside it.
 */
export type StandardInput<O> = [Extract<StandardErrors<O>, Cause.TimeoutError>] extends [OfBreaker<O>]
  ? [StandardErrors<O>] extends [OfRetry<O>]
    ? [StandardErrors<O>] extends [OfFallback<O>]
      ? OfBreaker<O> & OfRetry<O> & OfFallback<O>
      : Untaken<"fallback", Exclude<StandardErrors<O>, OfFallback<O>>>
    : Untaken<"retry.while", Exclude<StandardErrors<O>, OfRetry<O>>>
  : Untaken<"breaker", Exclude<Extract<StandardErrors<O>, Cause.TimeoutError>, OfBreaker<O>>>

/** Forbids fields that `Shape` does not have. */
type Others<O, Shape> = O extends object ? { readonly [Name in Exclude<keyof O, keyof Shape>]: never } : O

/**
 * Accepts only plain objects and the other values that `Shape` allows. If all fields of a type are optional, its intersections also accept
 * numbers, lists and functions.
 */
type Part<Shape> = (object & { readonly length?: never }) | Exclude<Shape, object>

/** Options without unknown fields, at the top level and in `Parts`. */
export type Exactly<O, Shape, Parts extends { readonly [Part in keyof Shape]?: unknown }> = Others<O, Shape> & {
  readonly [Name in keyof O & keyof Parts]?: Others<O[Name], Parts[Name]> &
    Part<Name extends keyof Shape ? Shape[Name] : never>
}
