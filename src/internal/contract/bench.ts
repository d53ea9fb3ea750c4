import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type {
  Cast,
  CastAnswer,
  Change,
  ListAnswer,
  SharedStore,
  Stored,
  Swap,
  SwapAnswer,
  Tally
} from "../../SharedStore.ts"

/** Something that a store did, and what it should have done. */
export class Miss extends Data.TaggedError("Miss")<{ readonly expected: string; readonly actual: string }> {}

/** One sentence of the contract, and an effect that fails where it does not hold. */
export interface Trial {
  readonly name: string
  readonly test: (bench: Bench) => Effect.Effect<void, Miss, Scope.Scope>
}

export const trial = (
  name: string,
  test: (bench: Bench) => Generator<Effect.Effect<unknown, Miss, Scope.Scope>, void, never>
): Trial => ({ name, test: (bench) => Effect.gen(() => test(bench)) })

/** Milliseconds: nothing of this kind ends within a trial, and this soon it has ended. */
export const long = 60_000
export const short = 60
/** What two clocks may differ by over a trial, and a timer from what it was set to. */
export const slack = 25

const widest = 160
/** A value in a message: not too much of it. */
export const show = (value: unknown): string => {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "nothing")
  return text.length <= widest ? text : `${text.slice(0, widest)}... (${text.length} characters)`
}

export const miss = (expected: string, actual: unknown): Effect.Effect<never, Miss> =>
  Effect.fail(new Miss({ expected, actual: show(actual) }))

export const expect = (fact: boolean, expected: string, actual: unknown): Effect.Effect<void, Miss> =>
  fact ? Effect.void : miss(expected, actual)

export const equal = (actual: unknown, expected: unknown, what: string): Effect.Effect<void, Miss> =>
  expect(Equal.equals(actual, expected), `${what}: ${show(expected)}`, actual)

/** A record without its age. */
export const written = (record: Stored | undefined) =>
  record === undefined ? undefined : { era: record.era, body: record.body }

const isWhole = (n: unknown): boolean => Number.isSafeInteger(n) && (n as number) >= 0
const isAge = (n: unknown): boolean => typeof n === "number" && n >= 0 && n < Infinity

const isRecord = (record: Stored | undefined): boolean =>
  record === undefined ||
  (isWhole(record.era) && record.era >= 1 && typeof record.body === "string" && isAge(record.age))

const isTally = (tally: Tally | undefined): boolean =>
  tally === undefined ||
  (isWhole(tally.voices) && tally.sums.every(isWhole) && (tally.asked === undefined || isAge(tally.asked)))

const aRecord = "a record with an era from 1 to below 2^53, a text and an age of 0 or more"
const aTally = "a tally of whole numbers of 0 or more, asked 0 or more milliseconds ago or undefined"

/** What an operation has to bring, whatever else: an answer in time and in its form. */
const answered = <A>(
  operation: string,
  patience: number,
  run: () => Effect.Effect<A, unknown>
): Effect.Effect<A, Miss> =>
  Effect.suspend(run).pipe(
    Effect.catchDefect((defect) => Effect.fail(defect)),
    Effect.mapError(
      (error) => new Miss({ expected: `an answer to ${operation}`, actual: Cause.pretty(Cause.fail(error)) })
    ),
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => miss(`an answer to ${operation} within ${patience} ms`, "none came")
    })
  )

/**
 * A store with several handles, which take turns, one operation each, so that what one process wrote another reads. Its
 * names are new each time: the store need not be empty, and nothing in it but what a trial wrote is looked at.
 */
export class Bench {
  readonly handles: ReadonlyArray<SharedStore>
  /** How long to wait for what has to come, in milliseconds. */
  readonly patience: number
  private turn = 0

  constructor(handles: ReadonlyArray<SharedStore>, patience: number) {
    this.handles = handles
    this.patience = patience
  }

  /** How long the text of a circuit may be. */
  get longestCircuit(): number {
    return Math.min(...this.handles.map(({ longestCircuit = Infinity }) => longestCircuit))
  }

  /** A name that nothing has had before. */
  name(what: string): string {
    return `${what}-${globalThis.crypto.randomUUID()}`
  }

  private run<A>(operation: string, f: (store: SharedStore) => Effect.Effect<A, unknown>): Effect.Effect<A, Miss> {
    const handle = this.handles[this.turn++ % this.handles.length]
    return handle === undefined ? miss("a handle", "none") : answered(operation, this.patience, () => f(handle))
  }

  /** By default writes a listed record that lasts, where there is none. */
  swap(circuit: string, request: Partial<Omit<Swap, "circuit">> = {}): Effect.Effect<SwapAnswer, Miss> {
    const whole = { expectedEra: 0, body: "body", ttl: long, listed: true, ...request, circuit }
    return Effect.suspend(() => this.run("swap", (store) => store.swap(whole))).pipe(
      Effect.tap((answer) => expect(isRecord(answer.record), aRecord, answer.record)),
      Effect.tap((answer) => expect(!answer.swapped || answer.record !== undefined, "what is there now", "no record"))
    )
  }

  /** A swap that has to succeed; answers the record. */
  write(circuit: string, request: Partial<Omit<Swap, "circuit">> = {}): Effect.Effect<Stored, Miss> {
    return Effect.flatMap(this.swap(circuit, request), ({ record, swapped }) =>
      swapped && record !== undefined
        ? Effect.succeed(record)
        : miss(`a swap of era ${request.expectedEra ?? 0}, which is the circuit's`, { swapped, record })
    )
  }

  load(circuit: string): Effect.Effect<Stored | undefined, Miss> {
    return Effect.suspend(() => this.run("load", (store) => store.load(circuit))).pipe(
      Effect.tap((record) => expect(isRecord(record), aRecord, record))
    )
  }

  /** By default of a voice that does not live, and does not by this. */
  list(voice = this.name("nobody"), ttl = 0): Effect.Effect<ListAnswer, Miss> {
    return Effect.suspend(() => this.run("list", (store) => store.list(voice, ttl))).pipe(
      Effect.tap(({ records }) => expect(records.every(isRecord), `each listed to be ${aRecord}`, records)),
      Effect.tap(({ live }) => expect(isWhole(live), "a whole number of voices that live", live))
    )
  }

  /** What the list has of a circuit. */
  listed(circuit: string) {
    return Effect.map(this.list(), ({ records }) => records.filter((one) => one.circuit === circuit))
  }

  /** By default a lasting ballot that asks nobody, where there is no record. */
  cast(circuit: string, request: Partial<Omit<Cast, "circuit">> = {}): Effect.Effect<CastAnswer, Miss> {
    const more = { era: 0, box: "box", voice: "voice", ballot: [1], ttl: long, inquire: 0, ...request, circuit }
    return Effect.suspend(() => this.run("cast", (store) => store.cast(more))).pipe(
      Effect.tap(({ record }) => expect(isRecord(record), aRecord, record)),
      Effect.tap(({ tally }) => expect(isTally(tally), aTally, tally)),
      Effect.tap(({ live }) => expect(isWhole(live), "a whole number of voices that live", live))
    )
  }

  /** A cast that has to count; answers the tally. */
  vote(circuit: string, request: Partial<Omit<Cast, "circuit">> = {}): Effect.Effect<Tally, Miss> {
    return Effect.flatMap(this.cast(circuit, request), ({ record, tally }) =>
      tally === undefined
        ? miss(`a tally, as era ${request.era ?? 0} is the circuit's`, { tally, record })
        : Effect.succeed(tally)
    )
  }

  /** What is in a box, which nothing is put in or taken from by this. */
  tally(circuit: string, era = 0, box = "box"): Effect.Effect<Tally, Miss> {
    return this.vote(circuit, { era, box, voice: this.name("nobody"), ballot: undefined })
  }

  /** The tally is of these ballots. */
  holds(tally: Tally, ballots: ReadonlyArray<ReadonlyArray<number>>, why: string): Effect.Effect<void, Miss> {
    const places = Math.max(0, ...ballots.map((ballot) => ballot.length))
    const sums = Array.from({ length: places }, (_, place) => ballots.reduce((sum, one) => sum + (one[place] ?? 0), 0))
    const found = [...tally.sums]
    while (found.length > places && found.at(-1) === 0) found.pop()
    while (found.length < places) found.push(0)
    return Effect.andThen(
      equal(tally.voices, ballots.length, `voices, ${why}`),
      expect(Equal.equals(found, sums), `sums, ${why}: ${show(sums)}`, tally.sums)
    )
  }

  /** Asks again until it is so. */
  until<A>(look: Effect.Effect<A, Miss>, fact: (found: A) => boolean, expected: string): Effect.Effect<A, Miss> {
    const attempt = (end: number): Effect.Effect<A, Miss> =>
      Effect.flatMap(look, (found) => {
        if (fact(found)) return Effect.succeed(found)
        return Effect.flatMap(Clock.currentTimeMillis, (now) =>
          now > end
            ? miss(`${expected} within ${this.patience} ms`, found)
            : Effect.andThen(Effect.sleep(10), attempt(end))
        )
      })
    return Effect.flatMap(Clock.currentTimeMillis, (now) => attempt(now + this.patience))
  }

  forgotten(circuit: string): Effect.Effect<unknown, Miss> {
    return this.until(this.load(circuit), (record) => record === undefined, "the record is forgotten after its ttl")
  }

  /** The ages that something may have: it happened after `start`, and at least so long ago. */
  aged(age: number | undefined, start: number, atLeast: number, what: string): Effect.Effect<void, Miss> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const atMost = now - start + slack
      const fits = age !== undefined && age >= atLeast - slack && age <= atMost
      return expect(fits, `${what} from ${Math.max(0, atLeast - slack)} to ${atMost} ms ago`, age)
    })
  }

  /** Lives, but no longer than the trial. */
  join(voice: string, ttl = long): Effect.Effect<ListAnswer, Miss, Scope.Scope> {
    return Effect.andThen(
      Effect.addFinalizer(() => Effect.ignore(this.list(voice, 0))),
      this.list(voice, ttl)
    )
  }

  /** All that is announced to a handle, from now on. A stream that ends or fails is run again, as the engine does. */
  listen(handle: number): Effect.Effect<ReadonlyArray<Change>, Miss, Scope.Scope> {
    const heard: Array<Change> = []
    const store = this.handles[handle % this.handles.length]
    if (store === undefined) return miss("a handle", "none")
    const listening = Effect.suspend(() =>
      Stream.runForEach(store.changes, (change) => Effect.sync(() => heard.push(change)))
    )
    const probe = Effect.suspend(() => this.write(this.name("probe"), { ttl: short, listed: false }))
    return Effect.forkScoped(Effect.forever(Effect.andThen(Effect.exit(listening), Effect.sleep(10)))).pipe(
      Effect.andThen(this.until(probe, () => heard.length > 0, "an announcement of some swap")),
      Effect.as(heard)
    )
  }

  /** Waits for what was to be announced up to now. */
  settled(heard: ReadonlyArray<Change>): Effect.Effect<void, Miss> {
    const circuit = this.name("last")
    return this.write(circuit, { ttl: short, listed: false }).pipe(
      Effect.andThen(
        this.until(
          Effect.sync(() => heard.map((change) => change.circuit)),
          (circuits) => circuits.includes(circuit),
          "an announcement of the swap"
        )
      ),
      Effect.andThen(Effect.sleep(30))
    )
  }
}

/** Opens the handles of a bench, for as long as the scope. */
export const open = (
  make: Effect.Effect<SharedStore, unknown, Scope.Scope>,
  patience: number
): Effect.Effect<Bench, Miss, Scope.Scope> =>
  Effect.forEach([1, 2], () => Effect.exit(make)).pipe(
    Effect.flatMap((exits) => {
      const failed = exits.find(Exit.isFailure)
      if (failed !== undefined) return miss("a handle on the store", Cause.pretty(failed.cause))
      return Effect.succeed(
        new Bench(
          exits.filter(Exit.isSuccess).map((exit) => exit.value),
          patience
        )
      )
    })
  )
