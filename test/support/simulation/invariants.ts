/**
 * The invariants of the fleet's protocol, checked at each entry of a history. They compare what processes and the store did with the
 * {@link Truth}. A simulation that is checked keeps its whole history.
 */
import type { SharedStore } from "effect-fuse"
import { Fleet } from "effect-fuse/core"
import { type Done, isDone, type Request } from "./contract.ts"
import type { Entry } from "./history.ts"
import { Broken } from "./properties.ts"
import type { Simulation } from "./simulation.ts"
import { Truth } from "./truth.ts"

/** The names of the invariants, as in the specification. */
export const promises = {
  opening: "the fleet opens only if the convinced outweigh all that have a say",
  hearing: "a process abstains only if it has no say",
  counting: "voters and abstentions are among those that live",
  deadline: "no command takes effect after its deadline",
  lanes: "at most two batched commands of a process are on their way",
  epochs: "epochs exceed all that the writer knew, and what is given back is older than nothing that it replaces",
  pages: "paging misses nothing"
} as const

const deadlineMillis = 250
/** A ballot waits for its turn this long at most. */
const pacing = 1_000
/** Times are in whole microseconds. */
const rounding = 0.01

export interface Checked {
  /** Throws if an invariant is broken: the error of the first violation. */
  readonly verify: () => void
  /** How many openings of the fleet were checked, and how many commands. */
  readonly counts: { openings: number; exchanges: number; pages: number }
}

type Of<Tag extends Entry["_tag"]> = Extract<Entry, { readonly _tag: Tag }>
type Fail = (promise: string, detail: string) => void

/** Watches a simulation from now on. */
export const watch = (simulation: Simulation, seed: number, { quorum = 0.5, syncInterval = 5_000 } = {}): Checked => {
  const truth = new Truth(Fleet.livesFor(syncInterval))
  const counts = { openings: 0, exchanges: 0, pages: 0 }
  let broken: unknown
  const fail: Fail = (promise, detail) => {
    throw new Broken(promise, seed, simulation.now, detail)
  }
  const parts = [hearing(truth, fail, 1.2 * syncInterval), commands(truth, fail), epochs(fail), pages(fail)]
  simulation.history.onEntry((entry) => {
    try {
      truth.hear(entry)
      if (entry._tag === "Swapped") opening(entry)
      if (entry._tag === "Applied") counts[entry.request.operation === "exchange" ? "exchanges" : "pages"]++
      for (const part of parts) part(entry)
    } catch (error) {
      // What throws here would end in a fiber of the engine.
      broken ??= error
    }
  })
  const verify = (): void => {
    if (broken !== undefined) throw broken
  }
  simulation.onStep(verify)
  return { verify, counts }

  function opening({ provenance, at, circuit, state }: Of<"Swapped">): void {
    if (provenance.why !== "Tripped" || provenance.origin !== undefined || state._tag !== "Open") return
    counts.openings++
    const { convinced, voting } = truth.votes(circuit, at)
    if (convinced > quorum * voting) return
    fail(promises.opening, `${circuit} opened, with ${convinced} convinced of ${voting}`)
  }
}

/** Checks one part of the protocol. Every part gets every entry. */
type Part = (entry: Entry) => void

/** The ballots and the register that the store should have: which process has heard which roll calls, and has voted where. */
const hearing = (truth: Truth, fail: Fail, young: number): Part => {
  let leaptAt = Number.NEGATIVE_INFINITY
  const rollCalls = new Map<number, SharedStore.RollCall>()
  const register = new Map<string, { until: number; told: number }>()
  /** When the casts of a command were built: a command that comes too late is repeated with the same casts. */
  const builtAt = new WeakMap<object, number>()
  const ballots = new Map<string, Map<string, number>>()
  const epochs = new Map<string, number>()
  const boxOf = (circuit: string, epoch: number, box: string): Map<string, number> => {
    const name = `${circuit} ${epoch} ${box}`
    const known = ballots.get(name) ?? new Map<string, number>()
    ballots.set(name, known)
    return known
  }
  const forget = (): void => {
    for (const one of [rollCalls, register, ballots, epochs]) one.clear()
  }
  return (entry) => {
    if (entry._tag === "Wiped" || entry._tag === "FailedOver") forget()
    else if (entry._tag === "Sent" && entry.request.operation === "exchange") {
      const { casts } = entry.request.exchange
      if (!builtAt.has(casts)) builtAt.set(casts, entry.at)
    }
    // A process notices with the next answer that the store took it for dead. Until then no process opens.
    else if (entry._tag === "Jumped" && entry.millis > 0) leaptAt = entry.at
    else if (entry._tag === "Swapped") epochs.set(entry.circuit, entry.epoch)
    else if (entry._tag === "Applied" && entry.request.operation === "exchange" && isDone(entry.answer)) {
      exchanged(entry, entry.request.exchange, entry.answer)
    }
  }

  /** A voter that no longer lived has lost its ballots, and has heard nothing. */
  function bury(voter: string, time: number): void {
    const known = register.get(voter)
    if (known === undefined || time < known.until) return
    register.delete(voter)
    for (const box of ballots.values()) box.delete(voter)
  }

  function exchanged(
    { at, command, life, process }: Of<"Applied">,
    exchange: SharedStore.Exchange,
    answer: Done
  ): void {
    const { casts, swaps, ttl, voter } = exchange
    const { time } = answer
    bury(voter, time)
    for (const [place, { ballot, box, circuit, epoch, ttl }] of casts.entries()) {
      const { record, tally } = answer.casts[place] ?? {}
      // A record may have ended.
      epochs.set(circuit, record?.epoch ?? 0)
      if (tally === undefined) continue
      if (ballot === undefined) boxOf(circuit, epoch, box).delete(voter)
      else boxOf(circuit, epoch, box).set(voter, time + ttl)
      if (tally.voters + tally.abstained > answer.live || tally.abstained < 0) {
        fail(promises.counting, `${tally.voters} voters and ${tally.abstained} abstentions of ${answer.live} that live`)
      }
    }
    for (const one of answer.rollCalls) rollCalls.set(one.seq, one)
    if (ttl <= 0) {
      // It leaves.
      register.set(voter, { until: time, told: 0 })
      bury(voter, time)
      return
    }
    const before = register.get(voter)?.told ?? 0
    const isValid = exchange.life === answer.life && exchange.heard <= answer.head
    const now = isValid ? exchange.heard : 0
    // What a process has heard moves in the lane of its casts. A command with swaps may tell of an earlier time.
    const told = swaps.length > 0 ? before : now
    register.set(voter, { until: time + ttl, told })
    if (at - leaptAt < young) return
    const sentAt = truth.sentAt(command)
    const decidedAt = builtAt.get(casts) ?? sentAt
    for (const { box, circuit, epoch, seq, term } of rollCalls.values()) {
      if (seq > now || time - seq / 1_000 >= term) continue
      // The first ballot after an abstention waits for its turn.
      const since = seq > before ? decidedAt - 1 : decidedAt - pacing
      if ((epochs.get(circuit) ?? epoch) !== epoch || !truth.hadSay(process, life, circuit, sentAt - 1, since)) continue
      const until = boxOf(circuit, epoch, box).get(voter)
      if (until !== undefined && time < until) continue
      const what = seq > before ? "heard" : "had heard"
      fail(promises.hearing, `process ${process} ${what} roll call ${seq} on ${circuit} and has no ballot`)
    }
  }
}

/** Deadlines, and how many commands are on their way. */
const commands = (truth: Truth, fail: Fail): Part => {
  const waiting = new Map<string, Map<number, number>>()
  let jumpedAt = Number.NEGATIVE_INFINITY
  const isBatch = (request: Request): boolean =>
    request.operation === "exchange" && request.exchange.casts.length + request.exchange.swaps.length > 0
  return (entry) => {
    if (entry._tag === "Jumped") jumpedAt = entry.at
    else if (entry._tag === "Sent" && isBatch(entry.request)) sent(entry)
    else if (entry._tag === "Answered") waiting.get(`${entry.process} ${entry.life}`)?.delete(entry.command)
    else if (entry._tag === "Applied" && entry.request.operation === "exchange" && isDone(entry.answer)) {
      carriedOut(entry, entry.request.exchange, entry.answer)
    }
  }

  function sent({ at, command, life, process }: Of<"Sent">): void {
    const name = `${process} ${life}`
    const of = waiting.get(name) ?? new Map<number, number>()
    waiting.set(name, of)
    for (const [other, since] of of) if (at - since >= deadlineMillis - rounding) of.delete(other)
    of.set(command, at)
    if (of.size > 2) fail(promises.lanes, `${of.size} of process ${process}`)
  }

  function carriedOut({ at, command }: Of<"Applied">, { notAfter }: SharedStore.Exchange, { time }: Done): void {
    const sentAt = truth.sentAt(command)
    if (notAfter !== undefined && time > notAfter) fail(promises.deadline, `${time - notAfter} ms late`)
    const took = at - sentAt
    // While the clock of the store stepped, how long it took is not what the deadline says.
    if (jumpedAt < sentAt - 60_000 && took > deadlineMillis + 1) fail(promises.deadline, `${took} ms after it was sent`)
  }
}

/** Epochs and origins. */
const epochs = (fail: Fail): Part => {
  const knows = new Map<string, number>()
  const sent = new Map<number, { readonly at: number; readonly known: number }>()
  const answers = new Map<number, { readonly request: Request; readonly answer: unknown }>()
  const orders = new Map<string, { readonly epoch: number; readonly order: number }>()
  return (entry) => {
    const name = `${entry.process} ${entry.life}`
    if (entry._tag === "Sent") sent.set(entry.command, { at: entry.at, known: knows.get(name) ?? 0 })
    else if (entry._tag === "Applied") {
      if (!entry.again) answers.set(entry.command, entry)
    } else if (entry._tag === "Answered") {
      const answered = answers.get(entry.command)
      answers.delete(entry.command)
      // A process does not read an answer that comes too late.
      const isInTime = entry.at - (sent.get(entry.command)?.at ?? 0) < deadlineMillis
      if (answered !== undefined && isInTime) knows.set(name, Math.max(knows.get(name) ?? 0, ...epochsIn(answered)))
    } else if (entry._tag === "Wiped" || entry._tag === "FailedOver") orders.clear()
    else if (entry._tag === "Swapped") swapped(entry, sent.get(entry.command)?.known ?? 0)
  }

  function swapped({ provenance, before, circuit, epoch }: Of<"Swapped">, known: number): void {
    if (epoch <= known) fail(promises.epochs, `${circuit} was given ${epoch} by a process that knew ${known}`)
    const last = orders.get(circuit)
    const order = provenance.origin ?? epoch
    if (last !== undefined && last.epoch === before && order < last.order) {
      fail(promises.epochs, `${circuit}: what was first written at ${order} replaced what was at ${last.order}`)
    }
    orders.set(circuit, { epoch, order })
  }
}

const epochsIn = ({ answer, request }: { readonly request: Request; readonly answer: unknown }): Array<number> => {
  const of = (record: SharedStore.Stored | undefined): number => record?.epoch ?? 0
  switch (request.operation) {
    case "exchange": {
      if (!isDone(answer)) return []
      return [...answer.casts, ...answer.swaps].map(({ record }) => of(record))
    }
    case "page":
      return [(answer as SharedStore.PageAnswer).epoch]
    default:
      return (answer as SharedStore.LoadAnswer).records.map(of)
  }
}

/** Whoever asks for what changed after an epoch has been given everything listed up to it. */
const pages = (fail: Fail): Part => {
  const listed = new Map<string, { readonly epoch: number; readonly until: number }>()
  const given = new Map<string, Map<string, number>>()
  const answers = new Map<number, SharedStore.PageAnswer>()
  /** The last epoch that the store has given since it last lost something. */
  let newest = 0
  return (entry) => {
    const name = `${entry.process} ${entry.life}`
    if (entry._tag === "Swapped") swapped(entry)
    else if (entry._tag === "Jumped") {
      // The store's clock says when a record ends.
      for (const [circuit, one] of listed) listed.set(circuit, { ...one, until: one.until - entry.millis })
    } else if (entry._tag === "Wiped" || entry._tag === "FailedOver") {
      newest = 0
      listed.clear()
      given.clear()
      answers.clear()
    } else if (entry._tag === "Sent" && entry.request.operation === "page") asked(name, entry.at, entry.request.since)
    else if (entry._tag === "Applied" && entry.request.operation === "page" && !entry.again) {
      answers.set(entry.command, entry.answer as SharedStore.PageAnswer)
    } else if (entry._tag === "Answered") {
      const known = given.get(name) ?? new Map<string, number>()
      given.set(name, known)
      for (const { circuit, epoch } of answers.get(entry.command)?.changes ?? []) known.set(circuit, epoch)
      answers.delete(entry.command)
    }
  }

  function swapped({ at, circuit, epoch, state }: Of<"Swapped">): void {
    const kept = Fleet.keptFor(state, at)
    newest = Math.max(newest, epoch)
    if (!Fleet.isListed(state, at)) listed.delete(circuit)
    else listed.set(circuit, { epoch, until: at + (kept ?? Number.POSITIVE_INFINITY) })
  }

  function asked(name: string, at: number, since: number): void {
    // A process that knows a later epoch than the store sees from the answer that the store has lost something.
    if (since > newest) return
    for (const [circuit, { epoch, until }] of listed) {
      if (epoch > since || at > until - 1_000) continue
      if ((given.get(name)?.get(circuit) ?? 0) < epoch)
        fail(promises.pages, `${name} asks after ${since}, without ${circuit}`)
    }
  }
}
