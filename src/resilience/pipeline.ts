import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { BulkheadFull } from "../shapes/BulkheadFull.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"

export const PipelineTypeId: unique symbol = Symbol.for("effect-fuse/Resilience/Pipeline")

/**
 * A function of an effect that knows what it adds.
 *
 * - `E`: the errors it adds, and `R`: the services it needs.
 * - `B`: what it may answer in place of what the effect answers.
 * - `In`: the errors that it can handle, `unknown` where it can handle any.
 * - `Kept`: what is left of the effect's own errors, `unknown` for all of them, `never` for none.
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
  /** What it is made of, the innermost first. */
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

/** What two of them come to, `P` inside `Q`. */
export type Then<P extends Any, Q extends Any> = Pipeline<
  ErrorOf<Q> | (ErrorOf<P> & KeptOf<Q>),
  ServicesOf<P> | ServicesOf<Q>,
  AnswerOf<P> | AnswerOf<Q>,
  [KeptOf<P>] extends [never] ? InputOf<P> : InputOf<P> & InputOf<Q>,
  KeptOf<P> & KeptOf<Q>
>

/** Those that can handle what `P` adds. */
// biome-ignore lint/suspicious/noExplicitAny: whatever it adds itself
export type Takes<P extends Any> = Pipeline<any, any, any, ErrorOf<P>, any>

/** Several as one, the innermost first. */
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

/** What its name says it is; whoever makes it says its types. */
export const makePipeline = <P extends Any>(parts: ReadonlyArray<string>, apply: Apply): P =>
  Object.assign((self: Effect.Effect<unknown, unknown>) => apply(self), {
    [PipelineTypeId]: undefined,
    parts
  }) as unknown as P

// ---- What the standard pipeline makes of its options ----------------------------------------------------------------

type At<O, Part extends string> = Part extends keyof O ? O[Part] : undefined

export type StandardErrors<O> =
  | CircuitOpen
  | ([At<O, "timeout">] extends [false] ? never : Cause.TimeoutError)
  | ([At<O, "bulkhead">] extends [false | undefined] ? never : BulkheadFull)

/** What a fallback makes; nothing, where there is none. */
export type Fallback<O> = Made<Exclude<At<O, "fallback">, undefined>>
type Made<F> = F extends (...args: never) => infer Effect ? Effect : F

/** The error that a function of one can handle; any, where there is none. */
type Handles<F> = F extends (error: infer E) => unknown ? E : unknown
type HandlesExit<F> = F extends (exit: Exit.Exit<unknown, infer E>) => unknown ? E : unknown
type FieldOf<O, Part extends string, Field extends string> = At<At<O, Part>, Field>

type OfBreaker<O> = Handles<FieldOf<O, "breaker", "isFailure">> &
  Handles<FieldOf<O, "breaker", "isIgnored">> &
  HandlesExit<FieldOf<O, "breaker", "classify">>
/** An open circuit is not tried again, whatever anybody says: nobody is asked about it. */
type OfRetry<O> = Handles<FieldOf<O, "retry", "while">> | CircuitOpen
type OfFallback<O> = Handles<At<O, "fallback">>

/** What a compiler shows of an option whose function does not take all errors that come to it. */
type Untaken<Option extends string, E> = { readonly [Name in `${Option} must take this error, too`]: E }

/** What comes in must be handled by those that look at it, and so must what is added on the way to them. */
export type StandardInput<O> = [Extract<StandardErrors<O>, Cause.TimeoutError>] extends [OfBreaker<O>]
  ? [StandardErrors<O>] extends [OfRetry<O>]
    ? [StandardErrors<O>] extends [OfFallback<O>]
      ? OfBreaker<O> & OfRetry<O> & OfFallback<O>
      : Untaken<"fallback", Exclude<StandardErrors<O>, OfFallback<O>>>
    : Untaken<"retry.while", Exclude<StandardErrors<O>, OfRetry<O>>>
  : Untaken<"breaker", Exclude<Extract<StandardErrors<O>, Cause.TimeoutError>, OfBreaker<O>>>

/** Fields that `Shape` has not, which are mistakes. */
type Others<O, Shape> = O extends object ? { readonly [Name in Exclude<keyof O, keyof Shape>]: never } : O

/**
 * If all fields of an object type are optional, the compiler also accepts a number, a list or a function for an intersection with it. This
 * type accepts only plain objects, and the other values that `Shape` allows.
 */
type Part<Shape> = (object & { readonly length?: never }) | Exclude<Shape, object>

/** Options with no other fields than there are, at the top and in its parts. */
export type Exactly<O, Shape, Parts extends { readonly [Part in keyof Shape]?: unknown }> = Others<O, Shape> & {
  readonly [Name in keyof O & keyof Parts]?: Others<O[Name], Parts[Name]> &
    Part<Name extends keyof Shape ? Shape[Name] : never>
}
