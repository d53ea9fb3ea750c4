/**
 * The JSON that the server sends to the browser, for the live page.
 *
 * Times are milliseconds since 1970, durations are milliseconds, and rates are per second. All texts are foreign texts that the server
 * has bounded; the page shows them as text only.
 */
import type { State } from "../core/Circuit.ts"
import type { ActionName } from "../core/operatorActions.ts"

/** A history has this many samples. */
export const samples = 60

/** The server and the page keep transitions for this time. */
export const hourMillis = 3_600_000

export interface SourceView {
  /** `fleet`: the store of a fleet. `process`: the circuits of this process only. */
  readonly kind: "fleet" | "process"
  /** The store without credentials, such as `redis://localhost:6379`, or the name of the process. */
  readonly label: string
  /** Set while the store cannot be read. The page then shows data from before `since`. */
  readonly problem: { readonly since: number; readonly message: string } | undefined
}

/** The traffic of a circuit, or of all circuits of a name, summed over the processes that report traffic. */
export interface TrafficView {
  readonly calls: number
  readonly failures: number
  readonly rejections: number
  readonly slow: number
  readonly p50: number | undefined
  readonly p95: number | undefined
  readonly inFlight: number
  /** The sum of the adaptive limits of all processes; `undefined` if no process limits the calls. */
  readonly limit: number | undefined
}

/** The rates of the last samples, oldest first. All three lists have the same length. */
export interface HistoryView {
  readonly calls: ReadonlyArray<number>
  readonly failures: ReadonlyArray<number>
  readonly rejections: ReadonlyArray<number>
}

/**
 * One circuit. A circuit without a key represents its name: it has the traffic of all keys. While the name's own circuit is closed, it
 * has the state of the worst key.
 */
export interface CircuitView {
  readonly id: string
  readonly name: string
  readonly key: string | undefined
  readonly state: State
  /** Whether the state is that of the worst key, and not of the circuit without a key. */
  readonly rolledUp: boolean
  /** Whether one process or the whole fleet decided the state. */
  readonly scope: "local" | "fleet"
  /** When the state began. */
  readonly since: number | undefined
  /** When the current outage began. */
  readonly downSince: number | undefined
  /** When the next call can pass as a probe, or the override ends. `undefined`: not known, or never by itself. */
  readonly until: number | undefined
  /** Why the circuit is in this state, in words. */
  readonly why: string | undefined
  /** The process that decided the state. In Open, it counted the votes. In HalfOpen, it admitted the latest probe. */
  readonly process: string | undefined
  /** The operator who set the override. */
  readonly actor: string | undefined
  /** How many processes agreed on the opening, and how many voted. */
  readonly agreed: { readonly failing: number; readonly of: number } | undefined
  readonly openings: number
  readonly traffic: TrafficView | undefined
  readonly history: HistoryView | undefined
  /** The recent failures of a key, summed over all processes. `undefined` for a name, or if no process reports failures. */
  readonly recentFailures: number | undefined
  /** How many keys the name has, and how many of them are not closed. */
  readonly keys: number
  readonly keysDown: number
  /** How many processes report the name. */
  readonly processes: number
}

export interface TransitionView {
  readonly at: number
  readonly name: string
  readonly key: string | undefined
  readonly from: State
  readonly to: State
  readonly why: string | undefined
  readonly actor: string | undefined
}

/** Whether the viewer may change circuits, and the name of the viewer. */
export interface RightsView {
  readonly steer: boolean
  readonly actor: string | undefined
}

export interface PageView {
  readonly at: number
  /** How often the server takes a sample of the traffic, in milliseconds. */
  readonly every: number
  /** How many circuits the view leaves out, because there are too many. */
  readonly leftOut: number
  readonly source: SourceView
  readonly rights: RightsView
  /** The number of live processes, and the number of processes that report traffic. */
  readonly processes: number
  readonly reporting: number
  readonly circuits: ReadonlyArray<CircuitView>
  /** The transitions of the last hour, oldest first. */
  readonly transitions: ReadonlyArray<TransitionView>
}

/**
 * The first message of a stream: the view with its first circuits. {@link MoreMessage}s with the other circuits follow, and `rest` is their
 * number. The browser decodes and draws each message in its own task. Small messages keep the browser responsive.
 */
export interface ViewMessage extends PageView {
  readonly rest: number
}

export interface MoreMessage {
  readonly circuits: ReadonlyArray<CircuitView>
}

/** The traffic of one circuit: the fields of {@link TrafficView}. `null` stands for `undefined`. */
export type Sample = readonly [
  id: string,
  calls: number,
  failures: number,
  rejections: number,
  slow: number,
  inFlight: number,
  p50: number | null,
  p95: number | null,
  limit: number | null
]

/** What has changed since the last message. */
export interface Change {
  readonly at: number
  readonly source: SourceView
  readonly processes: number
  readonly reporting: number
  readonly leftOut: number
  /** The changed circuits do not contain `traffic` and `history`. For a known circuit, the viewer keeps both. */
  readonly circuits: ReadonlyArray<CircuitView>
  /** The ids of circuits that no longer exist. */
  readonly gone: ReadonlyArray<string>
  readonly transitions: ReadonlyArray<TransitionView>
  /**
   * The next sample of the traffic, if this message has a sample. The sample contains only circuits whose figures changed. All other
   * circuits keep the figures of the previous sample.
   */
  readonly sample: ReadonlyArray<Sample> | undefined
}

/** The page of one circuit. */
export interface CircuitDetail {
  readonly circuit: CircuitView
  /** The known transitions, oldest first. */
  readonly transitions: ReadonlyArray<TransitionView>
  /**
   * The latest failures. If the server's process has seen failures, they have times, latest first. Otherwise, each process reports its
   * latest failure, and the most frequent failure is first.
   */
  readonly failures: ReadonlyArray<{
    readonly at: number | undefined
    readonly error: string
    /** How many processes report this failure. */
    readonly processes: number
  }>
  /** The fields of the policy that differ from the default, in words. */
  readonly policy: ReadonlyArray<{ readonly name: string; readonly value: string }>
  /** Counts different policies. 0 means that no policy is known. 1 means that all processes have the same policy. */
  readonly policies: number
  /** Up to 50 processes report the circuit. The worst process comes first. If the page shows one process, the list is empty. */
  readonly processes: ReadonlyArray<ProcessView>
  /** `processes` counts the processes that report the circuit. `notClosed` counts those in which the circuit is not closed. */
  readonly reporting: { readonly processes: number; readonly notClosed: number }
  /** Links to other pages about the circuit, for example to a page with metrics. */
  readonly links: ReadonlyArray<{ readonly title: string; readonly href: string }>
}

/** One process reports this about a circuit, or about all circuits of a name. Rates are per second. */
export interface ProcessView {
  readonly process: string
  /** The state of the key in this process; `undefined` for a name. */
  readonly state: State | undefined
  /** How many circuits of the name are not closed in this process. */
  readonly notClosed: number
  readonly keys: number
  /** The recent failures of the key; `undefined` for a name. */
  readonly recentFailures: number | undefined
  /** The traffic of the name. */
  readonly calls: number
  readonly failures: number
  readonly rejections: number
}

export type { ActionName }

/** The body of a request for an operator action. */
export interface ActionRequest {
  readonly action: ActionName
  readonly name: string
  readonly key?: string | undefined
  readonly reason?: string | undefined
  /** The name of the operator, if the server does not know it. */
  readonly actor?: string | undefined
  /** How long the action lasts, in milliseconds. Default: an override lasts until it is released. */
  readonly forMillis?: number | undefined
}

/** The answer to an action. On success: the new state, and the number of live processes. Otherwise: a message for the operator. */
export type ActionResponse = { readonly state: State; readonly processes: number } | { readonly error: string }
