/** The lines of a worker's journal: one JSON text per line. Times are milliseconds of CLOCK_MONOTONIC, which all processes share. */
import type { BreakerEvent, CircuitOpen } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"

export const circuits = ["orders", "search"] as const
export type Name = (typeof circuits)[number]

/** How the dependency behaves. */
export type Mood = "works" | "down" | "flapping" | "partly" | "slow" | "hanging"

export type OperatorAction = "isolate" | "release"

/** A call from its beginning to its end. The fields of an admission exist only if the call was admitted. */
export interface CallLine {
  readonly k: "call"
  readonly id: number
  readonly c: Name
  readonly began: number
  /** How many milliseconds the caller waits; 0 means until the call ends. */
  readonly patience: number
  admitted?: number
  state?: Circuit.State
  scope?: "local" | "fleet"
  epoch?: number
  /** When and how the protected effect ended. `ended` is missing if the effect never began. */
  ended?: number
  inner?: string
  done?: number
  outer?: string
  rejection?: { readonly reason: CircuitOpen.Reason; readonly state: Circuit.State; readonly scope: string }
}

export type Line =
  | { readonly k: "up"; readonly t: number; readonly voice: string }
  | CallLine
  /** A probe, written when it is admitted, because its `call` line may never be written. */
  | { readonly k: "probe"; readonly t: number; readonly id: number; readonly c: Name; readonly scope: string }
  | { readonly k: "stuck"; readonly t: number; readonly call: CallLine }
  | { readonly k: "move"; readonly t: number; readonly event: BreakerEvent.Transition }
  | {
      readonly k: "action"
      readonly t: number
      readonly began: number
      readonly action: OperatorAction
      readonly c: Name
      readonly scope: string
      readonly state: Circuit.State
    }
  | { readonly k: "lag"; readonly t: number; readonly millis: number }
  | { readonly k: "heap"; readonly t: number; readonly bytes: number }
  | { readonly k: "trouble"; readonly t: number; readonly text: string }

/** The orders of the parent to a worker. */
export type Order =
  | { readonly _tag: "Mood"; readonly c: Name; readonly mood: Mood }
  | { readonly _tag: "OperatorAction"; readonly c: Name; readonly action: OperatorAction }
  | { readonly _tag: "States" }

export type Answer =
  | { readonly _tag: "Up" }
  | { readonly _tag: "States"; readonly states: Readonly<Record<Name, Circuit.State>> }

/** CLOCK_MONOTONIC. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000
