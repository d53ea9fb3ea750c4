/** The messages between the demonstration and its workers, over the channel that Node gives to a child process. */
import type { BreakerEvent } from "effect-fuse"

/** How one call of a worker ended. */
export type End = "ok" | "error" | "rejected"

export type Command = "isolate" | "release" | "break network" | "mend network"

export type Report =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Call"; readonly end: End; readonly millis: number }
  | { readonly _tag: "Moved"; readonly event: BreakerEvent.Transition }
