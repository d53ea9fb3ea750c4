/**
 * A small world of protocol v2: a store, a few processes, one circuit, and everything that can happen to their messages. Decisions
 * are those of the library's pure parts: `Fleet` judges, `Hearing` keeps the roll calls, the memory store carries exchanges out.
 *
 * Time stands still but for two steps: 300 ms, after which every command on its way is late, and 6 s, in which every process that
 * lives has a heartbeat.
 */
import type { SharedStore, Trip } from "effect-fuse"
import { Fleet } from "effect-fuse/core"
import { Hearing } from "../../../src/fleet/rollCalls.ts"
import type { Budget, Flight, Process, Role, Setting, State } from "./model.ts"
import type { Step, World } from "./search.ts"
import { copy, type Done, emptyState, exchange } from "./store.ts"
import { keyOf, newsIn } from "./texts.ts"

const circuit = "api"
const box = "policy"
const syncMillis = 5_000
const ttl = Fleet.livesFor(syncMillis)
const deadline = 250
const [lateMillis, intervalMillis] = [300, 6_000]
const began = 1_000_000
const ballotMillis = 10_000
const rolledMillis = 35_000
const trip: Trip.Trip = { _tag: "Consecutive", failures: 5 }

/** Faults that can prevent what a process is about to do. */
const local = ["crashes", "lost", "slow", "late", "intervals", "firstCalls", "recoveries"] as const

/** A step that touches the state of one process only. */
type Local = Step<State> & { readonly isLocal?: boolean }

export const fleet = ({ announcements, budget, faults = {}, quorum, roles, stepBack = 0 }: Setting): World<State> => {
  const rules = { ...Fleet.defaults, quorum }
  const judge = faults.judge ?? Fleet.judge

  const processNamed = (name: string, role: Role): Process => ({
    name,
    role,
    up: true,
    crashedAt: undefined,
    hearing: new Hearing(),
    abstained: false,
    due: false,
    roll: false,
    rolledAt: Number.NEGATIVE_INFINITY,
    firstCall: "none",
    live: roles.length,
    epoch: 0,
    seen: "",
    casts: undefined,
    swap: undefined,
    announced: []
  })

  const initial = (): State => {
    const store = emptyState()
    const processes = roles.map((role, index) => processNamed(`p${index}`, role))
    for (const time of [began - 60_000, began]) {
      for (const { name } of processes) exchange(store, heartbeat(name, 0, time), time, () => {})
    }
    return { time: began, store, processes, stray: [], recoveredAt: undefined, left: budget }
  }

  const heartbeat = (voter: string, heard: number, time: number): SharedStore.Exchange => ({
    voter,
    ttl,
    notAfter: faults.noDeadline ? undefined : time + deadline,
    heard,
    floor: 0,
    casts: [],
    swaps: []
  })

  // ---- The store -----------------------------------------------------------------------------------------------------

  /** A command arrives at the store, whose announcements go to all that are up. */
  const carryOut = (
    state: State,
    index: number,
    flight: Flight
  ): { readonly next: State; readonly arrived: Flight; readonly step: Outcome } => {
    const store = copy(state.store)
    const called: Array<SharedStore.RollCall> = []
    const { request } = flight
    const heardBefore = store.votes.register.get(request.voter)?.heard ?? 0
    const answer = exchange(
      store,
      request,
      state.time,
      (change) => {
        if (change._tag === "RollCall") called.push(change)
      },
      faults
    )
    const processes = state.processes.map((one, i): Process => {
      const announced = announcements && one.up ? [...one.announced, ...called] : one.announced
      const told = i === index && one.firstCall === "untold" && answer._tag === "Done" && flight.hasSay
      return { ...one, announced, firstCall: told ? "told" : one.firstCall }
    })
    const next = { ...state, store, processes }
    const isTally = request.casts.length > 0
    const wrong = isTally ? wrongly(state) : flight.wrong
    const arrived = { ...flight, answer, seen: newsIn(next), wrong }
    return { next, arrived, step: inspect(state, next, flight, heardBefore, answer) }
  }

  interface Outcome {
    readonly broken: string | undefined
    readonly fact: string | undefined
  }

  const inspect = (
    before: State,
    after: State,
    { hasSay, request, sentAt, wrong }: Flight,
    heardBefore: number,
    answer: SharedStore.ExchangeAnswer
  ): Outcome => {
    if (answer._tag === "Late") return { broken: undefined, fact: "late" }
    const fail = (broken: string): Outcome => ({ broken, fact: undefined })
    if (after.time > sentAt + deadline) return fail("a command took effect after its deadline")
    for (const { tally } of answer.casts) {
      if (tally === undefined) continue
      if (tally.voters + tally.abstained > answer.live) return fail("more voters and abstentions than live")
    }
    const { votes } = after.store
    const heard = votes.register.get(request.voter)?.heard ?? 0
    for (const { circuit, box, epoch, seq } of votes.log) {
      const held = votes.boxes.get(circuit)?.get(box)
      if (seq <= heardBefore || seq > heard || !hasSay || held?.epoch !== epoch) continue
      if (!held.ballots.has(request.voter))
        return fail("heard moved past a roll call in which its process owes a ballot")
    }
    const opened = answer.swaps.find(({ swapped }) => swapped)
    if (opened === undefined) return { broken: undefined, fact: undefined }
    if ((opened.record?.epoch ?? 0) <= request.floor) return fail("an epoch is not above those that its writer knew")
    // What a process tells after the tally was made comes too late for it.
    return { broken: wrong && wrongly(before), fact: "opened" }
  }

  /** Why the circuit should not have opened now. */
  const wrongly = ({ processes, recoveredAt, time }: State): string | undefined => {
    const isConvinced = ({ crashedAt, role, up }: Process): boolean =>
      (role === "failing" || (recoveredAt !== undefined && time - recoveredAt < lateMillis && wasFailing(role))) &&
      (up || time - (crashedAt ?? 0) < ttl)
    const convinced = processes.filter(isConvinced).length
    // A process that has not been able to tell the store of its first call counts as idle.
    const others = processes.filter(
      (one) => one.up && !isConvinced(one) && one.role !== "idle" && one.firstCall !== "untold"
    ).length
    return convinced > quorum * (convinced + others) && convinced > 0
      ? undefined
      : `the circuit opened though only ${convinced} of ${convinced + others} were convinced`
  }

  /** After a recovery all that are well may have failed before. */
  const wasFailing = (role: Role): boolean => role === "well"

  // ---- A process -----------------------------------------------------------------------------------------------------

  const hearingOf = (hearing: Hearing): Hearing =>
    Object.assign(new Hearing(), { ...hearing, queue: [...hearing.queued] })

  /**
   * The next command of the casts lane; nothing if there is nothing to tell or to ask. `looks`: the process also asks once the store
   * has news, which spares the commands that ask in vain.
   */
  const build = (state: State, one: Process, looks: boolean): Flight | undefined => {
    const { hearing, name, role } = one
    const { time } = state
    const hasSay = role !== "idle"
    const conviction = role === "failing" ? 1 : 0
    const owes = hasSay && hearing.queued.length > 0 && faults.hearsWithoutVoting !== true
    const asks = role === "failing" && (one.roll || (looks && one.seen !== newsIn(state)))
    const votes = hasSay && one.epoch === 0 && (owes || one.due || asks)
    const rolled = owes || one.roll || time - one.rolledAt < rolledMillis
    const ballot = Fleet.toNumbers({ conviction, open: false, streak: 3 * conviction, counts: [] })
    if (!votes && !hearing.isBehind && !(looks && hasNews(state, one))) return undefined
    const request: SharedStore.Exchange = {
      ...heartbeat(name, hearing.latest, time),
      casts: votes
        ? [
            {
              circuit,
              epoch: 0,
              box,
              ballot,
              ttl: rolled && faults.shortBallots !== true ? rolledMillis : ballotMillis,
              inquire: 0,
              roll: one.roll ? Fleet.rollCallEvery(syncMillis) : 0
            }
          ]
        : []
    }
    const { latest, missing } = hearing
    return { request, sentAt: time, before: { latest, missing }, hasSay, answer: undefined, seen: "", wrong: undefined }
  }

  const hasNews = ({ store: { votes } }: State, { firstCall, hearing, name }: Process): boolean =>
    votes.head > hearing.latest || !votes.register.has(name) || firstCall === "untold"

  const opening = (time: number, one: Process, wrong: string | undefined): Flight => ({
    request: {
      ...heartbeat(one.name, one.hearing.confirmed, time),
      swaps: [{ circuit, expectedEpoch: 0, body: "open", ttl: undefined, listed: true }]
    },
    sentAt: time,
    before: { latest: one.hearing.latest, missing: one.hearing.missing },
    hasSay: one.role !== "idle",
    answer: undefined,
    seen: "",
    wrong
  })

  /** A process receives an answer in time. */
  const receive = (one: Process, flight: Flight, answer: Done): Process => {
    const hearing = hearingOf(one.hearing)
    const { request } = flight
    hearing.answered(answer.rollCalls, answer.head, flight.before)
    hearing.confirm(request.heard > answer.head ? 0 : request.heard)
    const isYoung = answer.liveFor < ttl && faults.forgetful !== true
    const live = isYoung ? Math.max(one.live, answer.live) : answer.live
    const abstains = !flight.hasSay && request.heard > 0 && faults.remembersLate === true
    const abstained = one.abstained || abstains
    const [cast] = answer.casts
    const informed = { ...one, hearing, live, abstained, seen: flight.seen }
    if (cast === undefined) return informed
    if (cast.tally === undefined) return { ...informed, epoch: cast.record?.epoch ?? 0, due: false, roll: false }
    const [conviction = 0] = request.casts[0]?.ballot ?? []
    const { abstained: abstentions, asked, rolled, sums, voters } = cast.tally
    const rolledAt = rolled === undefined ? informed.rolledAt : answer.time - rolled
    const answered: Process = { ...informed, due: false, roll: false, rolledAt }
    if (conviction === 0 || one.role !== "failing") return answered
    const tally = Fleet.fromSums(sums, { voters, live: Math.max(1, live), abstained: abstentions, asked })
    const young = Fleet.isYoung(answer.liveFor, syncMillis)
    const verdict = judge(tally, trip, rules, { openings: 0, time: 0, young })
    if (verdict._tag === "RollCall") return { ...answered, roll: true }
    return verdict._tag === "Open" && answered.swap === undefined
      ? { ...answered, swap: opening(answer.time, answered, flight.wrong) }
      : answered
  }

  /** A command was lost, or its process no longer waits for it. The process tells the same again. */
  const failed = (one: Process, flight: Flight): Process => {
    const votes = flight.request.casts.length > 0
    const hearing = hearingOf(one.hearing)
    if (faults.hearsOnFailure === true) hearing.confirm(flight.request.heard)
    return { ...one, hearing, due: one.due || (votes && faults.hearsOnFailure !== true) }
  }

  // ---- Steps ---------------------------------------------------------------------------------------------------------

  const put = (state: State, index: number, change: Partial<Process>): State => ({
    ...state,
    processes: state.processes.map((one, i) => (i === index ? { ...one, ...change } : one))
  })

  const spend = (state: State, what: keyof Budget): State => ({
    ...state,
    left: { ...state.left, [what]: state.left[what] - 1 }
  })

  const lanes = ["casts", "swap"] as const

  const told = ({ request: { casts, heard } }: Flight): string => {
    const what = casts[0] === undefined ? "no ballot" : `ballot ${casts[0].ballot?.[0]}`
    return `sends ${what}, heard ${heard}${casts[0]?.roll ? ", calls the roll" : ""}`
  }

  /** A process sends what it has to tell as soon as it knows, if none of its casts is on its way. */
  const atOnce = (label: string, state: State, index: number): Step<State> => {
    const one = state.processes[index] as Process
    const hasMore = one.casts === undefined && (one.due || one.roll || one.hearing.isBehind)
    const flight = hasMore ? build(state, one, false) : undefined
    if (flight === undefined) return { label, next: state }
    return { label: `${label}, ${told(flight)}`, next: send(state, index, flight) }
  }

  /** What a process abstains from it remembers as soon as it says so. */
  const send = (state: State, index: number, flight: Flight): State => {
    const one = state.processes[index] as Process
    const abstains = !flight.hasSay && one.hearing.queued.length > 0 && faults.remembersLate !== true
    return put(state, index, { casts: flight, abstained: one.abstained || abstains })
  }

  const ofProcess = (state: State, index: number): ReadonlyArray<Local> => {
    const one = state.processes[index] as Process
    const found: Array<Local> = []
    const label = (what: string): string => `${one.name} ${what}`
    if (!one.up) return found
    if (one.casts === undefined) {
      const flight = build(state, one, true)
      if (flight !== undefined) found.push({ label: label(told(flight)), next: send(state, index, flight) })
    }
    for (const lane of lanes) {
      const flight = one[lane]
      if (flight === undefined) continue
      const { answer } = flight
      if (answer === undefined) {
        const { arrived, next, step } = carryOut(state, index, flight)
        found.push({ label: label(`${lane} arrive`), next: put(next, index, { [lane]: arrived }), ...step })
      } else if (answer._tag === "Done") {
        const received = receive({ ...one, [lane]: undefined }, flight, answer)
        found.push({ ...atOnce(label(`${lane} answered`), put(state, index, received), index), isLocal: true })
      }
      if (state.left.lost > 0) {
        const next = put(spend(state, "lost"), index, { ...failed(one, flight), [lane]: undefined })
        found.push({ label: label(`${lane} lost${answer === undefined ? "" : " on its way back"}`), next })
      }
    }
    if (state.left.slow > 0) found.push(...slowly(state, index))
    const [announced, ...later] = one.announced
    if (announced !== undefined) {
      const hearing = hearingOf(one.hearing)
      hearing.announced(announced)
      const heard = put(state, index, { hearing, announced: later })
      found.push({ ...atOnce(label("hears the roll call"), heard, index), isLocal: true })
      if (state.left.lost > 0) {
        const next = put(spend(state, "lost"), index, { announced: later })
        found.push({ label: label("does not hear the roll call"), next })
      }
    }
    if (one.role === "idle" && state.left.firstCalls > 0) {
      const due = one.abstained && faults.silentFirstCall !== true
      const next = put(spend(state, "firstCalls"), index, { role: "well", due, firstCall: "untold" })
      found.push(atOnce(label("has its first call, which succeeds"), next, index))
    }
    if (state.left.crashes > 0) {
      const crashed: Process = { ...processNamed(one.name, one.role), up: false, crashedAt: state.time }
      const sent = onTheirWay(state).filter(({ from }) => from === index)
      const next = put(spend({ ...state, stray: [...state.stray, ...sent] }, "crashes"), index, crashed)
      found.push({ label: label("crashes"), next })
    }
    return found
  }

  /**
   * A command of a process is late, or its answer is. It changes nothing if it arrives later than its deadline, so it is the same
   * as lost; or else the step shows what is wrong.
   */
  const slowly = (state: State, index: number): ReadonlyArray<Step<State>> =>
    lanes.flatMap((lane) => {
      const one = state.processes[index] as Process
      const flight = one[lane]
      if (flight === undefined) return []
      const label = `${one.name} ${lane} late${flight.answer === undefined ? "" : " on its way back"}`
      const next = put(spend(state, "slow"), index, { ...failed(one, flight), [lane]: undefined })
      if (flight.answer !== undefined) return [{ label, next }]
      const { arrived, step } = carryOut({ ...next, time: state.time + lateMillis }, index, flight)
      return arrived.answer?._tag === "Late" ? [{ label, next, fact: "late" }] : [{ label, next, ...step }]
    })

  /**
   * The step that can be taken before all others, because it touches one process only, and nothing else can touch that before: an
   * answer that is there is received, once no fault is left that could prevent it.
   */
  const first = (state: State): ReadonlyArray<Step<State>> | undefined => {
    const { left, processes } = state
    if (stepBack > 0 || local.some((what) => left[what] > 0)) return undefined
    const index = processes.findIndex(
      ({ announced, casts, swap, up }) =>
        up && (casts?.answer?._tag === "Done" || swap?.answer?._tag === "Done" || announced.length > 0)
    )
    if (index === -1) return undefined
    const step = ofProcess(state, index).find(({ isLocal }) => isLocal)
    return step === undefined ? undefined : [step]
  }

  /** Commands on their way to the store. */
  const onTheirWay = ({ processes }: State): State["stray"] =>
    processes.flatMap((one, from) =>
      lanes.flatMap((lane) => {
        const flight = one[lane]
        return one.up && flight !== undefined && flight.answer === undefined ? [{ from, flight }] : []
      })
    )

  /** Time goes on beyond every deadline: all that wait for an answer give up. */
  const later = (state: State, millis: number): State => {
    let next: State = { ...state, time: state.time + millis }
    for (const [index, { up }] of state.processes.entries()) {
      if (!up) continue
      for (const lane of lanes) {
        const one = next.processes[index] as Process
        const flight = one[lane]
        if (flight !== undefined) next = put(next, index, { ...failed(one, flight), [lane]: undefined })
      }
    }
    return next
  }

  const interval = (state: State): State => {
    let next = later(state, intervalMillis)
    for (const [index, { hearing, name, role, up }] of next.processes.entries()) {
      if (!up) continue
      const { latest, missing } = hearing
      const hasSay = role !== "idle"
      const request = heartbeat(name, hearing.confirmed, next.time)
      const before = { latest, missing }
      const flight: Flight = {
        request,
        sentAt: next.time,
        before,
        hasSay,
        answer: undefined,
        seen: "",
        wrong: undefined
      }
      const { arrived, next: after } = carryOut(next, index, flight)
      const one = after.processes[index] as Process
      const { answer } = arrived
      if (answer?._tag === "Done") {
        next = put(after, index, receive(one, arrived, answer))
      }
    }
    return next
  }

  const ofWorld = (state: State): ReadonlyArray<Step<State>> => {
    const { left } = state
    const found: Array<Step<State>> = state.stray.map(({ flight, from }, i) => {
      const { next, step } = carryOut({ ...state, stray: state.stray.filter((_, j) => j !== i) }, from, flight)
      return { label: `a stray command of p${from} arrives`, next, ...step }
    })
    if (left.wipes > 0) {
      // A roll call after it has another number, as the clock has gone on.
      const wiped: State = { ...state, time: state.time + 1 - stepBack, store: emptyState() }
      found.push({ label: "the store is wiped", next: spend(wiped, "wipes") })
    }
    if (left.late > 0) {
      const next = spend(later(state, lateMillis), "late")
      found.push({ label: "300 ms pass", next })
      // A command that is late changes nothing, whenever it arrives: one that does is a step of its own.
      for (const { flight, from } of onTheirWay(state)) {
        const { arrived, next: after, step } = carryOut(next, from, flight)
        const what = flight.request.swaps.length > 0 ? "a swap" : "a cast"
        const label = `300 ms pass, and ${what} of p${from} arrives`
        if (arrived.answer?._tag === "Late") found.push({ label, next, ...step })
        else found.push({ label, next: after, ...step })
      }
    }
    if (left.intervals > 0) found.push({ label: "6 s pass", next: spend(interval(state), "intervals") })
    if (left.recoveries > 0) {
      const processes = state.processes.map(
        (one): Process => (one.role === "failing" ? { ...one, role: "well", due: true, roll: false } : one)
      )
      const next = spend({ ...state, processes, recoveredAt: state.time }, "recoveries")
      found.push({ label: "the dependency recovers", next })
    }
    return found
  }

  const steps = (state: State): ReadonlyArray<Step<State>> =>
    // An opening is the end: what follows is another circuit's story.
    state.store.records.size > 0
      ? []
      : (first(state) ?? [...state.processes.flatMap((_, index) => ofProcess(state, index)), ...ofWorld(state)])

  return { initial: [initial()], steps, key: keyOf(roles[0] === roles[1]) }
}
