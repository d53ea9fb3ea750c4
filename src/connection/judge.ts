import { foreignText } from "../core/foreign.ts"

/**
 * Decides whether a connection is useful, by the results of its commands. Its socket says little: a primary that became a replica
 * keeps its connections, and behind a NAT a dead connection stays open. Pure: no client and no clock.
 */

/** What a failed command says about its connection: nothing, something if it happens again, or enough to replace it. */
export type FailureVerdict = "Keep" | "Count" | "Replace"

/** The server answers, but not as the server that this connection is for. A new connection may reach another one. */
const replaced = /(?:^|[\s-])(?:READONLY|LOADING|MASTERDOWN|NOAUTH|WRONGPASS)\b/

/** The server refuses this command. A new connection changes nothing. */
const refused = /(?:^|[\s-])(?:NOPERM|NOSCRIPT|WRONGTYPE|OOM|BUSY|CROSSSLOT)\b|^ERR unknown command|database is locked/

/** SQLSTATE: read-only transaction; authorization, of a pool that opens its connections with an old password. */
const replacedStates = /^(?:25006|28000|28P01)$/

/** SQLSTATE: the server has read the statement, and rejects it or gives it up. */
const refusedStates = /^(?:0A|22|23|40|42|55).{3}$|^57014$/

/** MySQL and MariaDB: access denied, and the three ways in which a server says that it is read-only. */
const replacedNumbers: ReadonlySet<unknown> = new Set([1045, 1290, 1792, 1836])

/** MySQL and MariaDB: conflicts, rights, tables and columns that are missing, syntax, statements that were given up. */
const refusedNumbers: ReadonlySet<unknown> = new Set([
  ...[1020, 1044, 1054, 1062, 1064, 1142, 1143, 1146, 1205, 1213, 1317, 1969, 3024]
])

/** The most nested errors that are read. */
const maxErrors = 16

interface ErrorLike {
  readonly message?: unknown
  readonly code?: unknown
  readonly errno?: unknown
  readonly cause?: unknown
  readonly reason?: unknown
  readonly errors?: unknown
}

const read = (error: ErrorLike): FailureVerdict | undefined => {
  const code = String(error.code ?? "")
  const message = String(error.message ?? "")
  if (replacedStates.test(code) || replacedNumbers.has(error.errno) || replaced.test(message)) return "Replace"
  if (refusedStates.test(code) || refusedNumbers.has(error.errno) || refused.test(message)) return "Keep"
  return undefined
}

/** The verdict on a failure, by the first nested error that gives one; `Count` if none does. */
export const verdictOf = (failure: unknown): FailureVerdict => {
  const open: Array<unknown> = [failure]
  for (let i = 0; i < open.length && i < maxErrors; i++) {
    const one = open[i]
    if (typeof one === "string") {
      const verdict = read({ message: one })
      if (verdict !== undefined) return verdict
    }
    if (typeof one !== "object" || one === null) continue
    const error: ErrorLike = one
    const verdict = read(error)
    if (verdict !== undefined) return verdict
    open.push(error.cause, error.reason)
    if (Array.isArray(error.errors)) open.push(...error.errors)
  }
  return "Count"
}

/** How a judge treats each verdict, and (`late`) a command that was not answered in time. */
export interface Strictness {
  readonly replace: "Replace" | "Count"
  readonly count: "Count" | "Keep"
  readonly late: "Count" | "Keep"
}

/** For a client that this library built and can build again. */
export const ofOwnClient: Strictness = { replace: "Replace", count: "Count", late: "Count" }

/** For a client that the program made. It reconnects by itself, but not while its socket looks healthy. */
export const ofGivenClient: Strictness = { replace: "Count", count: "Keep", late: "Count" }

/** For a pool that the program made. It closes connections that do not answer. */
export const ofGivenPool: Strictness = { replace: "Count", count: "Keep", late: "Keep" }

/** A connection is useless after this many failed commands in a row. A process has at most 3 commands pending at once. */
export const uselessAfter = 4

/** The failures must also last this long, from when the first command was sent: a server may pause for a snapshot or a failover. */
export const uselessAfterMillis = 2_000

/** Commands in a row that failed, and when the first of them was sent. */
class Streak {
  private misses = 0
  private since = 0

  reset(): void {
    this.misses = 0
  }

  /** Counts a failure. Returns how long commands have failed if that is enough, or `undefined`. */
  add(sentAt: number, now: number): number | undefined {
    this.since = this.misses === 0 ? sentAt : Math.min(this.since, sentAt)
    this.misses++
    const lasted = now - this.since
    return this.misses >= uselessAfter && lasted >= uselessAfterMillis ? lasted : undefined
  }
}

/** The judge of one connection. Times are milliseconds of a clock that only goes forward. */
export class Judge {
  private readonly strictness: Strictness
  /** Commands that failed or were not answered. Any answer shows that the connection works. */
  private readonly misses = new Streak()
  /** Replies of a wrong server. A replica still answers reads, so only a write shows that the server is the right one. */
  private readonly wrong = new Streak()

  constructor(strictness: Strictness) {
    this.strictness = strictness
  }

  /** A command was carried out, in time or late. */
  answered(isWrite: boolean): void {
    this.misses.reset()
    if (isWrite) this.wrong.reset()
  }

  /** A command failed that was sent at `sentAt`. Returns why the connection is useless, or `undefined`. */
  failed(failure: unknown, sentAt: number, now: number): string | undefined {
    const verdict = verdictOf(failure)
    if (verdict === "Replace" && this.strictness.replace === "Replace") return foreignText(failure)
    if (verdict === "Count" && this.strictness.count === "Count") {
      return this.misses.add(sentAt, now) === undefined ? undefined : foreignText(failure)
    }
    // Every other failure is an answer.
    this.misses.reset()
    if (verdict !== "Replace") return undefined
    return this.wrong.add(sentAt, now) === undefined ? undefined : foreignText(failure)
  }

  /** A command was not answered in time. */
  missed(sentAt: number, now: number): string | undefined {
    if (this.strictness.late === "Keep") return undefined
    const lasted = this.misses.add(sentAt, now)
    return lasted === undefined ? undefined : `no answer for ${Math.round(lasted)} ms`
  }
}
