/** What each process says about one circuit, from the digests. Pure. */
import { grouped } from "../core/grouped.ts"
import type { Digest, NameDigest } from "../store/digest.ts"
import type { Details } from "./details.ts"
import { bounded, processName } from "./texts.ts"
import type { ProcessView } from "./view.ts"

/** The latest digest of each process; `undefined` for a digest that cannot be read. */
export type Digests = ReadonlyMap<string, Digest | undefined>

export interface OfProcesses extends Omit<Details, "transitions"> {
  readonly processes: ReadonlyArray<ProcessView>
}

/** The most processes on the page of a circuit, and the most failures and fields of the policy. */
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

/** Processes whose circuit is not closed come first, and then those with the most failures. */
const worstFirst = (a: ProcessView, b: ProcessView): number =>
  Number(isBad(b)) - Number(isBad(a)) ||
  (b.recentFailures ?? b.failures) - (a.recentFailures ?? a.failures) ||
  (a.process < b.process ? -1 : 1)

/** The most frequent first. */
const counted = (texts: ReadonlyArray<string>): ReadonlyArray<readonly [text: string, count: number]> =>
  [...grouped(texts, (text) => text)].map(([text, all]) => [text, all.length] as const).sort((a, b) => b[1] - a[1])

/**
 * What the digests say about a circuit: each process's own view, the latest failures and the policy. Without a key, it is what they say
 * about all circuits of the name. With a key, only processes that count it among their worst keys are included.
 */
export const processesOf = (digests: Digests, name: string, key: string | undefined): OfProcesses => {
  const views: Array<ProcessView> = []
  const failures: Array<string> = []
  const policies: Array<string> = []
  for (const [voter, digest] of digests) {
    const one = digest?.names.find((other) => other.name === name)
    if (digest === undefined || one === undefined) continue
    const view = viewOf(processName(voter) ?? "", digest.millis, one, key)
    if (key === undefined || view.state !== undefined) views.push(view)
    if (one.about === undefined) continue
    if (one.about.lastFailure !== undefined) failures.push(one.about.lastFailure)
    policies.push(JSON.stringify(one.about.policy))
  }
  const [policy] = counted(policies)
  const fields = policy === undefined ? [] : (JSON.parse(policy[0]) as ReadonlyArray<readonly [string, string]>)
  return {
    processes: views.sort(worstFirst).slice(0, mostProcesses),
    failures: counted(failures)
      .slice(0, mostFailures)
      .map(([error, processes]) => ({ at: undefined, error: bounded(error) ?? "", processes })),
    policy: fields
      .slice(0, mostFields)
      .map(([field, value]) => ({ name: bounded(field, 40) ?? "", value: bounded(value) ?? "" })),
    policies: new Set(policies).size
  }
}
