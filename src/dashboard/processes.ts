/** Collects the reports of all processes about one circuit from the digests. Pure. */
import { grouped } from "../core/grouped.ts"
import type { Digest, NameDetails, NameDigest } from "../store/digest.ts"
import type { Details } from "./details.ts"
import { bounded, processName } from "./texts.ts"
import type { CircuitDetail, ProcessView } from "./view.ts"

/** Has the latest digest of each process, or `undefined` for an unreadable digest. */
export type Digests = ReadonlyMap<string, Digest | undefined>

export interface OfProcesses extends Omit<Details, "transitions">, Pick<CircuitDetail, "processes" | "reporting"> {}

/** The page of a circuit shows at most this many processes, failures and fields of the policy. */
const mostProcesses = 50
const mostFailures = 10
const mostFields = 20

const viewOf = (process: string, millis: number, one: NameDigest, key: string | undefined): ProcessView => {
  const perSecond = (count: number) => Math.round((count * 100_000) / Math.max(1_000, millis)) / 100
  const worst = key === undefined ? undefined : one.worst.find((other) => other.key === key)
  return {
    process,
    state: worst?.state,
    notClosed: one.notClosed,
    keys: one.keys,
    recentFailures: worst?.failures,
    calls: perSecond(one.calls),
    failures: perSecond(one.failures),
    rejections: perSecond(one.rejected)
  }
}

const isBad = ({ notClosed, state }: ProcessView): boolean => (state === undefined ? notClosed > 0 : state !== "Closed")

/** Processes whose circuit is not closed come first, then processes with more failures. */
const worstFirst = (a: ProcessView, b: ProcessView): number =>
  Number(isBad(b)) - Number(isBad(a)) ||
  (b.recentFailures ?? b.failures) - (a.recentFailures ?? a.failures) ||
  (a.process < b.process ? -1 : 1)

/** The elements in groups with the same text, the largest group first. */
const counted = <A>(all: ReadonlyArray<A>, text: (one: A) => string): ReadonlyArray<readonly [A, ...Array<A>]> =>
  [...grouped(all, text).values()].sort((a, b) => b.length - a.length)

/**
 * Collects what each process reports about a circuit: its state, its latest failures and its policy. Without a key, collects the reports
 * about all circuits of the name. With a key, `processes` contains only processes whose digest lists the key among the worst keys.
 */
export const processesOf = (digests: Digests, name: string, key: string | undefined): OfProcesses => {
  const views: Array<ProcessView> = []
  const failures: Array<string> = []
  const policies: Array<NameDetails["policy"]> = []
  for (const [voter, digest] of digests) {
    const one = digest?.names.find((other) => other.name === name)
    if (digest === undefined || one === undefined) continue
    const view = viewOf(processName(voter) ?? "", digest.millis, one, key)
    if (key === undefined || view.state !== undefined) views.push(view)
    if (one.about === undefined) continue
    if (one.about.lastFailure !== undefined) failures.push(one.about.lastFailure)
    policies.push(one.about.policy)
  }
  const different = counted(policies, (policy) => JSON.stringify(policy))
  const [[fields = []] = []] = different
  return {
    processes: views.sort(worstFirst).slice(0, mostProcesses),
    reporting: { processes: views.length, notClosed: views.filter(isBad).length },
    failures: counted(failures, (failure) => failure)
      .slice(0, mostFailures)
      .map((same) => ({ at: undefined, error: bounded(same[0]) ?? "", processes: same.length })),
    policy: fields
      .slice(0, mostFields)
      .map(([field, value]) => ({ name: bounded(field, 40) ?? "", value: bounded(value) ?? "" })),
    policies: different.length
  }
}
