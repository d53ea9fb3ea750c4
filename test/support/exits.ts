import { assert } from "@effect/vitest"
import { Cause, Duration, Effect, Exit } from "effect"
import { type CircuitBreaker, CircuitOpen, Outcome } from "effect-fuse"

export class Missing {
  readonly _tag = "Missing"
}
export class Down {
  readonly _tag = "Down"
}
export const rejection = CircuitOpen.make({
  circuit: "inner",
  state: "Open",
  reason: "Cooldown",
  retryAfter: Duration.seconds(1),
  openings: 1
})

export type Counted = "successes" | "failures" | "ignored"
export type Case = readonly [what: string, exit: Exit.Exit<string, unknown>, counted: Counted]
const die = Cause.die(new Error("bug"))

/** How a call may end, and what it counts as when nobody says anything else. */
export const exits: ReadonlyArray<Case> = [
  ["a value", Exit.succeed("ok"), "successes"],
  ["an error", Exit.fail(new Down()), "failures"],
  ["undefined as an error", Exit.fail(undefined), "failures"],
  ["a defect", Exit.failCause(die), "failures"],
  ["an interrupt", Exit.interrupt(1), "ignored"],
  ["two interrupts", Exit.failCause(Cause.combine(Cause.interrupt(1), Cause.interrupt(2))), "ignored"],
  ["an error and an interrupt", Exit.failCause(Cause.combine(Cause.fail("x"), Cause.interrupt(1))), "failures"],
  ["a defect and an interrupt", Exit.failCause(Cause.combine(Cause.interrupt(1), die)), "failures"],
  ["an empty cause", Exit.failCause(Cause.empty), "failures"],
  ["the CircuitOpen of another circuit", Exit.fail(rejection), "ignored"],
  [
    "a CircuitOpen and an interrupt",
    Exit.failCause(Cause.combine(Cause.fail(rejection), Cause.interrupt(1))),
    "ignored"
  ],
  [
    "a CircuitOpen and an error",
    Exit.failCause(Cause.combine(Cause.fail<unknown>(rejection), Cause.fail("x"))),
    "failures"
  ],
  ["a CircuitOpen and a defect", Exit.failCause(Cause.combine(Cause.fail(rejection), die)), "failures"]
]

/** The options that say how an exit is read, and what they make of one. */
export const readings: ReadonlyArray<
  readonly [string, CircuitBreaker.Reading<unknown, Missing | Down | CircuitOpen.CircuitOpen>, Case]
> = [
  ["isFailure matches", { isFailure: (e) => e._tag === "Down" }, ["", Exit.fail(new Down()), "failures"]],
  ["isFailure does not match", { isFailure: (e) => e._tag === "Down" }, ["", Exit.fail(new Missing()), "successes"]],
  ["isFailure is not asked about defects", { isFailure: () => false }, ["", Exit.die("bug"), "failures"]],
  ["isFailure is not asked about interrupts", { isFailure: () => true }, ["", Exit.interrupt(1), "ignored"]],
  ["isFailure is not asked about a CircuitOpen", { isFailure: () => true }, ["", Exit.fail(rejection), "ignored"]],
  ["isIgnored matches", { isIgnored: (e) => e._tag === "Missing" }, ["", Exit.fail(new Missing()), "ignored"]],
  ["isIgnored does not match", { isIgnored: (e) => e._tag === "Missing" }, ["", Exit.fail(new Down()), "failures"]],
  [
    "isIgnored goes before isFailure",
    { isIgnored: () => true, isFailure: () => true },
    ["", Exit.fail(new Down()), "ignored"]
  ],
  ["classify reads a value", { classify: () => Outcome.failure() }, ["", Exit.succeed("try later"), "failures"]],
  ["classify reads an error", { classify: () => Outcome.success }, ["", Exit.fail(new Missing()), "successes"]],
  ["classify reads a defect", { classify: () => Outcome.ignored }, ["", Exit.die("bug"), "ignored"]],
  ["classify is not asked about interrupts", { classify: () => Outcome.failure() }, ["", Exit.interrupt(1), "ignored"]],
  [
    "classify is an effect",
    { classify: () => Effect.as(Effect.yieldNow, Outcome.failure()) },
    ["", Exit.succeed(1 as never), "failures"]
  ]
]

/** Readings that break. */
export const broken: ReadonlyArray<readonly [string, CircuitBreaker.Reading<unknown, unknown>]> = [
  ["classify that throws", { classify: () => assert.fail("broken") }],
  ["classify that dies", { classify: () => Effect.andThen(Effect.yieldNow, Effect.die(new Error("broken"))) }],
  ["isFailure that throws", { isFailure: () => assert.fail("broken") }],
  ["isIgnored that throws", { isIgnored: () => assert.fail("broken") }]
]
