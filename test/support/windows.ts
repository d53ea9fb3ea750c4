import type { Window } from "effect-fuse/core"

export const calls = (n: number): Window.Over => ({ _tag: "Calls", calls: n })
export const time = (millis: number): Window.Over => ({ _tag: "Time", millis })
export const none: Window.Counts = { calls: 0, failures: 0, slow: 0, weight: 0 }
