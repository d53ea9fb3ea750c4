/** Components that several screens use. */
import type { ComponentChildren } from "preact"
import { memo } from "preact/compat"
import { printable } from "../src/core/printable.ts"
import { duration } from "../src/dashboard/duration.ts"
import type { CircuitView, HistoryView } from "../src/dashboard/view.ts"
import { useNow } from "./clock.ts"
import { clock } from "./format.ts"
import type { State } from "./model.ts"

export const words: Readonly<Record<State, string>> = {
  Open: "Open",
  HalfOpen: "Half-open",
  Isolated: "Isolated",
  Disabled: "Disabled",
  Closed: "Closed"
}

/** A shape for each state, so that colour is not the only difference. */
const shapes: Readonly<Record<State, ComponentChildren>> = {
  Open: <path d="M8 1.5 15 14H1Z" />,
  HalfOpen: (
    <>
      <circle cx="8" cy="8" r="5.8" class="ring" />
      <path d="M8 2.2a5.8 5.8 0 0 0 0 11.6Z" />
    </>
  ),
  Isolated: <path d="M5 1.5h6L14.5 5v6L11 14.5H5L1.5 11V5Z" />,
  Disabled: <path d="M2 7h12v2.4H2Z" />,
  Closed: <circle cx="8" cy="8" r="4.5" />
}

export const StateMark = ({ state }: { readonly state: State }) => (
  <svg class={`mark ${state}`} viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
    {shapes[state]}
  </svg>
)

export const StateBadge = ({ state }: { readonly state: State }) => (
  <span class={`badge ${state}`}>
    <StateMark state={state} />
    {words[state]}
  </span>
)

/** The time since `at`, updated each second. */
export const Since = ({ at }: { readonly at: number }) => {
  const now = useNow()
  return (
    <time dateTime={new Date(at).toISOString()} title={`since ${clock(at)}`}>
      {duration(now - at)}
    </time>
  )
}

/** Shows the time until `at`, and updates it each second. After `at`, shows the text `over`. */
export const Until = ({ at, over }: { readonly at: number; readonly over: string }) => {
  const now = useNow()
  return (
    <time dateTime={new Date(at).toISOString()} title={`at ${clock(at)}`}>
      {at > now ? `in ${duration(at - now + 999)}` : over}
    </time>
  )
}

const width = 120
const height = 28

const line = (values: ReadonlyArray<number>, top: number): string => {
  const step = width / Math.max(1, values.length - 1)
  return values
    .map((value, i) => `${(i * step).toFixed(1)},${(height - 1 - (value / top) * (height - 3)).toFixed(1)}`)
    .join(" ")
}

/** Calls as an area, failures as a red area in it, rejections as a line. */
export const Sparkline = memo(({ history }: { readonly history: HistoryView | undefined }) => {
  if (history === undefined || history.calls.length < 2) return <span class="quiet">no traffic yet</span>
  const { calls, failures, rejections } = history
  const top = Math.max(0.1, ...calls, ...rejections)
  const area = (values: ReadonlyArray<number>) => `0,${height - 1} ${line(values, top)} ${width},${height - 1}`
  const last = (values: ReadonlyArray<number>) => (values.at(-1) ?? 0).toFixed(1)
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${last(calls)} calls, ${last(failures)} failures and ${last(rejections)} rejections a second`}
    >
      <polygon class="calls" points={area(calls)} />
      <polygon class="failures" points={area(failures)} />
      {rejections.some((n) => n > 0) && <polyline class="rejections" points={line(rejections, top)} />}
    </svg>
  )
})

export const Name = ({ circuit }: { readonly circuit: Pick<CircuitView, "name" | "key"> }) => (
  <span class="name">
    <bdi>{printable(circuit.name)}</bdi>
    {circuit.key !== undefined && (
      <span class="key">
        <bdi>{printable(circuit.key)}</bdi>
      </span>
    )}
  </span>
)

/** Returns the address of a circuit. The address contains the id, because `encodeURIComponent` throws for some names. */
export const addressOf = ({ id }: Pick<CircuitView, "id">): string => `#/circuit/${id}`
