/**
 * The facts of a simulation, independent of what processes and the store know: which processes are up, what each one has seen of each
 * circuit, and which of them have been able to tell the store.
 */
import { isDone } from "./contract.ts"
import type { Entry } from "./history.ts"

/** A process that fails this often in a row is convinced. */
const suspectAfter = 2
/** Only a call that ended within this time gives a say. */
const observation = 30_000
/** A little less: the process's own clock is read a little later. */
const surely = observation - 1_000
/** What the store knows is part of a decision after this time at the latest: one answer in transit, and the swap that follows from it. */
const settled = 600
/** A ballot waits for its turn this long at most. */
const pacing = 1_000

/** What one life of a process has seen of one circuit. */
interface Seen {
  lastAt: number
  streak: number
  /** Since when it has a say, and since when the store has heard of the process after that. */
  sayAt: number
  sayOrder: number
  toldAt: number
  open: boolean
  /** When it last closed: a call that was admitted before tells nothing. */
  closedOrder: number
  readonly convictions: Array<{ readonly at: number; readonly value: number }>
}

interface Lived {
  up: boolean
  endedAt: number
  /** The last exchange that the store carried out: when it was sent, and when it was carried out. */
  sentAt: number
  doneAt: number
  readonly circuits: Map<string, Seen>
}

export interface Votes {
  /** The convictions, added up. */
  readonly convinced: number
  /** How many had a say. */
  readonly voting: number
}

const idOf = (key: string | undefined): string => (key === undefined ? "api" : `api/${key}`)

export class Truth {
  private readonly lives = new Map<string, Lived>()
  private readonly sent = new Map<number, { readonly at: number; readonly order: number }>()
  private readonly ttl: number
  private readonly admitted = new Map<string, number>()
  private order = 0

  /** `ttl`: for how long a process lives after an exchange. */
  constructor(ttl: number) {
    this.ttl = ttl
  }

  hear(entry: Entry): void {
    this.order++
    switch (entry._tag) {
      case "Up":
        this.life(entry).up = true
        return
      case "Crashed":
      case "Ending":
        Object.assign(this.life(entry), { up: false, endedAt: entry.at })
        return
      case "Sent":
        this.sent.set(entry.command, { at: entry.at, order: this.order })
        return
      case "Applied":
        if (entry.request.operation === "exchange" && isDone(entry.answer)) this.done(entry)
        return
      case "Admitted":
        this.admitted.set(`${entry.process} ${entry.call}`, this.order)
        return
      case "Settled":
        if (entry.outcome !== "Interrupted") this.settled(entry)
        return
      case "Event":
        this.event(entry)
        return
      default:
        return
    }
  }

  /** When a command was sent. */
  sentAt(command: number): number {
    return this.sent.get(command)?.at ?? Number.NaN
  }

  /** Whether a process had a say in a circuit at a time, and had it without interruption since before `since`. */
  hadSay(process: number, life: number, circuit: string, at: number, since = at): boolean {
    const seen = this.lives.get(`${process} ${life}`)?.circuits.get(circuit)
    return seen !== undefined && !seen.open && seen.sayAt < since && at - seen.lastAt < surely && at >= seen.lastAt
  }

  /** What a vote on a circuit would come to now, if everything that could be told had been told. */
  votes(circuit: string, now: number): Votes {
    let convinced = 0
    let voting = 0
    for (const life of this.lives.values()) {
      const seen = life.circuits.get(circuit)
      if (seen === undefined) continue
      // The ballots of a process that crashed or ended count until it is no longer taken for alive.
      if (!life.up && now - life.endedAt > this.ttl) continue
      const since = Math.min(life.sentAt, now) - pacing - settled
      const value = convictionSince(seen, since)
      convinced += value
      const objects =
        life.up && now - life.doneAt < this.ttl - settled && now - seen.toldAt > settled && now - seen.lastAt < surely
      if (value > 0 || objects) voting++
    }
    return { convinced, voting }
  }

  private life({ life, process }: Pick<Entry, "life" | "process">): Lived {
    const name = `${process} ${life}`
    const known = this.lives.get(name)
    if (known !== undefined) return known
    const made: Lived = {
      up: false,
      endedAt: Number.POSITIVE_INFINITY,
      sentAt: Number.NEGATIVE_INFINITY,
      doneAt: Number.NEGATIVE_INFINITY,
      circuits: new Map()
    }
    this.lives.set(name, made)
    return made
  }

  private seen(entry: Pick<Entry, "life" | "process">, circuit: string): Seen {
    const { circuits } = this.life(entry)
    const known = circuits.get(circuit)
    if (known !== undefined) return known
    const made: Seen = {
      lastAt: Number.NEGATIVE_INFINITY,
      streak: 0,
      sayAt: Number.POSITIVE_INFINITY,
      sayOrder: Number.POSITIVE_INFINITY,
      toldAt: Number.POSITIVE_INFINITY,
      open: false,
      closedOrder: 0,
      convictions: []
    }
    circuits.set(circuit, made)
    return made
  }

  private done(entry: Extract<Entry, { readonly _tag: "Applied" }>): void {
    const life = this.life(entry)
    const sent = this.sent.get(entry.command)
    if (sent === undefined || sent.at < life.sentAt) return
    life.sentAt = sent.at
    life.doneAt = entry.at
    for (const seen of life.circuits.values()) {
      if (seen.toldAt === Number.POSITIVE_INFINITY && seen.sayOrder < sent.order) seen.toldAt = entry.at
    }
  }

  private settled(entry: Extract<Entry, { readonly _tag: "Settled" }>): void {
    const seen = this.seen(entry, idOf(entry.key))
    const { at, call, process } = entry
    const name = `${process} ${call}`
    const admitted = this.admitted.get(name) ?? 0
    this.admitted.delete(name)
    if (admitted < seen.closedOrder) return
    if (at - seen.lastAt > observation) {
      seen.sayAt = at
      seen.sayOrder = this.order
      seen.toldAt = Number.POSITIVE_INFINITY
    }
    seen.lastAt = at
    seen.streak = entry.outcome === "Failure" ? seen.streak + 1 : 0
    this.note(seen, at)
  }

  private event({ event, ...entry }: Extract<Entry, { readonly _tag: "Event" }>): void {
    if (event._tag !== "Transition") return
    const seen = this.seen(entry, idOf(event.key))
    seen.open = event.to !== "Closed"
    if (event.to === "Closed") {
      // What was seen before a circuit closed is forgotten.
      seen.streak = 0
      seen.closedOrder = this.order
      seen.lastAt = Number.NEGATIVE_INFINITY
      seen.sayAt = Number.POSITIVE_INFINITY
      seen.sayOrder = Number.POSITIVE_INFINITY
      seen.toldAt = Number.POSITIVE_INFINITY
    }
    this.note(seen, entry.at)
  }

  private note(seen: Seen, at: number): void {
    const value = seen.open ? 1 : Math.min(1, seen.streak / suspectAfter)
    const { convictions } = seen
    if (convictions.at(-1)?.value === value) return
    convictions.push({ at, value })
    if (convictions.length > 200) convictions.splice(0, 100)
  }
}

/** The highest conviction that held at some time since then. */
const convictionSince = ({ convictions }: Seen, since: number): number => {
  let most = 0
  for (let i = convictions.length - 1; i >= 0; i--) {
    const one = convictions[i]
    if (one === undefined) break
    most = Math.max(most, one.value)
    if (one.at <= since) break
  }
  return most
}
