import type { CircuitMove, PlayedSecond, PlayedServer, PlayModel } from "./playServer.ts"

/**
 * The result of playing callers against a server with one protection. Shares are from 0 to 1, times are milliseconds. The figures cover
 * the window, unless their comments say otherwise.
 *
 * @category models
 */
export interface PlayReport {
  /** The name of the protection. */
  readonly policy: string
  readonly millis: number
  readonly window: { readonly from: number; readonly until: number }
  /** Calls that were answered in time, per second. */
  readonly goodput: number
  /** The same as a share of what the server could have answered. */
  readonly share: number
  /** {@link share} after the window; `undefined` if the run ends with it. */
  readonly shareAfter: number | undefined
  /** Attempts that reached the server, as a multiple of what it could have answered. */
  readonly sent: number
  /** Calls that were rejected while a worker was free, as a share of all calls of the run. */
  readonly falseRejections: number
  /** The share of the server's work in the whole run that was for callers that had given up. */
  readonly wasted: number
  /** The p99 duration of the answered calls, with all their attempts; `undefined` if no call was answered. */
  readonly p99: number | undefined
  /**
   * The time from the end of the last fault until the server answers nearly as many calls as it can. `Infinity` if that does not happen
   * in the run, `undefined` if the server has no faults.
   */
  readonly recovery: number | undefined
  /**
   * Jain's index compares how many answers each process got. If all processes got equally many answers, the index is 1. If one of n
   * processes got all answers, the index is 1 / n.
   */
  readonly fairness: number
  /** What happened in each second. */
  readonly seconds: ReadonlyArray<Readonly<PlayedSecond>>
  /** The number of circuits in all processes. */
  readonly circuits: number
  /** The transitions of the circuits. */
  readonly moves: ReadonlyArray<CircuitMove>
}

const total = (seconds: ReadonlyArray<PlayedSecond>, of: (second: PlayedSecond) => number): number =>
  seconds.reduce((all, second) => all + of(second), 0)

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

const answered = (seconds: ReadonlyArray<PlayedSecond>): number => total(seconds, (one) => one.answered)
const possible = (seconds: ReadonlyArray<PlayedSecond>): number => total(seconds, (one) => one.possible)

/** Whether this share of the possible calls was answered, within two standard deviations, because calls arrive at random times. */
export const isNear = (seconds: ReadonlyArray<PlayedSecond>, share: number): boolean => {
  const could = possible(seconds)
  return answered(seconds) >= share * could - 2 * Math.sqrt(could)
}

/** Finds when the server has recovered. A recovered server answers 95 % of the possible calls for 3 seconds, and 90 % for 10 seconds. */
const recovered = (seconds: ReadonlyArray<PlayedSecond>): number => {
  for (let i = 0; i + 3 <= seconds.length; i++) {
    if (isNear(seconds.slice(i, i + 3), 0.95) && isNear(seconds.slice(i, i + 10), 0.9)) return i * 1_000
  }
  return Infinity
}

export const reportOf = (
  policy: string,
  { byProcess, circuits, latencies, moves, seconds, work }: PlayedServer,
  window: PlayReport["window"],
  { millis, server: { faults } }: PlayModel
): PlayReport => {
  const [from, until] = [Math.floor(window.from / 1_000), Math.ceil(window.until / 1_000)]
  const inside = seconds.slice(from, until)
  const after = seconds.slice(until)
  const took = latencies.filter(({ at }) => at >= window.from && at < window.until).map((one) => one.millis)
  took.sort((a, b) => a - b)
  const each = byProcess.map((counts) => counts.slice(from, until).reduce((sum, n) => sum + n, 0))
  const faultsEnd = Math.max(...faults.map((fault) => fault.until))
  const squares = each.reduce((sum, n) => sum + n * n, 0)
  const sum = each.reduce((all, n) => all + n, 0)
  return {
    policy,
    millis,
    window,
    goodput: ratio(answered(inside), inside.length),
    share: ratio(answered(inside), possible(inside)),
    shareAfter: after.length === 0 ? undefined : ratio(answered(after), possible(after)),
    sent: ratio(
      total(inside, (one) => one.sent),
      possible(inside)
    ),
    falseRejections: ratio(
      total(seconds, (one) => one.rejectedIdle),
      total(seconds, (one) => one.offered)
    ),
    wasted: ratio(work.wasted, work.done),
    p99: took[Math.min(took.length - 1, Math.floor(took.length * 0.99))],
    recovery: faults.length === 0 ? undefined : recovered(seconds.slice(Math.ceil(faultsEnd / 1_000))),
    fairness: ratio(sum * sum, each.length * squares),
    seconds,
    circuits,
    moves
  }
}
