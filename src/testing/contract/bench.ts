import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  type Cast,
  type CastAnswer,
  type Change,
  type Changed,
  type DigestsAnswer,
  type Exchange,
  type ExchangeAnswer,
  type ExchangeDone,
  limits,
  type PageAnswer,
  type SharedStore,
  type Stored,
  type StoredTally,
  type Swap,
  type SwapAnswer
} from "../../store/SharedStore.ts"

/** What a store did, and what it should have done. */
export class Miss extends Data.TaggedError("Miss")<{ readonly expected: string; readonly actual: string }> {}

/** One requirement of the contract, and its test. The test is an effect, and fails if the store does not meet the requirement. */
export interface Trial {
  readonly name: string
  readonly test: (bench: Bench) => Effect.Effect<void, Miss, Scope.Scope>
}

export const trial = (
  name: string,
  test: (bench: Bench) => Generator<Effect.Effect<unknown, Miss, Scope.Scope>, void, never>
): Trial => ({ name, test: (bench) => Effect.gen(() => test(bench)) })

/** A ttl in milliseconds that does not end within a trial. */
export const long = 60_000
/** A ttl in milliseconds that ends soon. */
export const short = 60
/** The tolerated difference, in milliseconds, of two clocks within a trial, or of a timer from its delay. */
export const slack = 25

const widest = 160
/** A value as text for a message. A long text is cut. */
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

/** A cast. By default it puts a lasting ballot on a circuit without a record, and begins neither an inquiry nor a roll call. */
export const castOf = (circuit: string, more: Partial<Omit<Cast, "circuit">> = {}): Cast => ({
  ...{ epoch: 0, box: "box", ballot: [1], ttl: long, inquire: 0, roll: 0 },
  ...more,
  circuit
})

/** A swap. By default it writes a listed, lasting record of a circuit that has none. */
export const swapOf = (circuit: string, more: Partial<Omit<Swap, "circuit">> = {}): Swap => ({
  ...{ expectedEpoch: 0, body: "body", ttl: long, listed: true },
  ...more,
  circuit
})

/** A record without its age. */
export const written = (record: Stored | undefined) =>
  record === undefined ? undefined : { epoch: record.epoch, body: record.body }

const isWhole = (n: unknown): boolean => Number.isSafeInteger(n) && (n as number) >= 0
const isLife = (life: unknown): boolean => typeof life === "string" && /^[\w-]+$/.test(life)
const isAge = (n: unknown): boolean => typeof n === "number" && n >= 0 && n < Infinity

const isRecord = (record: Stored | undefined): boolean =>
  record === undefined ||
  (isWhole(record.epoch) && record.epoch >= 1 && typeof record.body === "string" && isAge(record.age))

const isTally = (tally: StoredTally | undefined): boolean =>
  tally === undefined ||
  (isWhole(tally.voters) &&
    isWhole(tally.abstained) &&
    tally.sums.every(isWhole) &&
    (tally.asked === undefined || isAge(tally.asked)) &&
    (tally.rolled === undefined || isAge(tally.rolled)))

const aRecord = "a record with an epoch from 1 to below 2^53, a text and an age of 0 or more"
const aTally = "a tally of whole numbers of 0 or more, with ages of 0 or more milliseconds or undefined"

/** Runs an operation, which must answer in time and without an error. */
const answered = <A>(
  operation: string,
  patience: number,
  run: () => Effect.Effect<A, unknown>
): Effect.Effect<A, Miss> =>
  Effect.suspend(() => {
    const effect: unknown = run()
    return Effect.isEffect(effect)
      ? (effect as Effect.Effect<A, unknown>)
      : Effect.fail(new TypeError(`${operation} returned a value that is not an Effect: ${String(effect)}`))
  }).pipe(
    Effect.catchDefect((defect) => Effect.fail(defect)),
    Effect.mapError(
      (error) => new Miss({ expected: `an answer to ${operation}`, actual: Cause.pretty(Cause.fail(error)) })
    ),
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => miss(`an answer to ${operation} within ${patience} ms`, "no answer")
    }),
    Effect.tap((answer) => expect(typeof answer === "object" && answer !== null, "an object as answer", answer))
  )

/** A cast, and the name of its voter. */
type Request = Partial<Omit<Cast, "circuit">> & { readonly voter?: string }

/**
 * A store with several handles. The operations of a trial alternate between the handles, so that one reads what another wrote.
 *
 * Each name is new. The store need not be empty, because a trial checks only what it wrote.
 */
export class Bench {
  readonly handles: ReadonlyArray<SharedStore>
  /** How many milliseconds to wait for an answer or a change. */
  readonly patience: number
  /** The `life` in the latest answer of the store. */
  private life = ""
  private turn = 0
  private readonly own = globalThis.crypto.randomUUID().slice(0, 8)
  /** The voters that this trial made live. */
  private readonly voters = new Set<string>()

  constructor(handles: ReadonlyArray<SharedStore>, patience: number) {
    this.handles = handles
    this.patience = patience
  }

  /** The maximum length of the text of a circuit. */
  get longestCircuit(): number {
    return Math.min(...this.handles.map(({ longestCircuit = Infinity }) => longestCircuit))
  }

  /** A unique name that begins with `what`. */
  name(what: string): string {
    return `${what}-${globalThis.crypto.randomUUID()}`
  }

  /** The name of a voter that only this trial uses. */
  voter(name: string): string {
    return `${name}~${this.own}`
  }

  private run<A>(operation: string, f: (store: SharedStore) => Effect.Effect<A, unknown>): Effect.Effect<A, Miss> {
    const handle = this.handles[this.turn++ % this.handles.length]
    return handle === undefined ? miss("a handle", "none") : answered(operation, this.patience, () => f(handle))
  }

  /** An exchange. By default it has no casts and no swaps, and its voter is live neither before nor after it. */
  exchange(request: Partial<Exchange> = {}): Effect.Effect<ExchangeAnswer, Miss> {
    const {
      casts = [],
      digest,
      floor = 0,
      heard = 0,
      notAfter,
      swaps = [],
      ttl = 0,
      voter = this.name("absent")
    } = request
    const whole = { voter, ttl, notAfter, heard, floor, casts, swaps, digest }
    return Effect.suspend(() => {
      if (ttl > 0) this.voters.add(voter)
      const life = "life" in request ? request.life : this.life
      return this.run("exchange", (store) => store.exchange({ ...whole, life }))
    }).pipe(
      Effect.tap((answer) => expect(isAge(answer.time), "a time of 0 or more milliseconds", answer.time)),
      Effect.tap((answer) => (answer._tag === "Late" ? Effect.void : this.inForm(answer, casts, swaps)))
    )
  }

  /** An exchange that must not be late. */
  done(request: Partial<Exchange> = {}): Effect.Effect<ExchangeDone, Miss> {
    return Effect.flatMap(this.exchange(request), (answer) =>
      answer._tag === "Done" ? Effect.succeed(answer) : miss("an exchange that is not late", answer)
    )
  }

  private inForm(
    answer: ExchangeDone,
    casts: ReadonlyArray<Cast>,
    swaps: ReadonlyArray<Swap>
  ): Effect.Effect<void, Miss> {
    const { head, life, live, liveFor, rollCalls } = answer
    this.life = life
    const ascending = rollCalls.every(({ seq }, index) => seq > (rollCalls[index - 1]?.seq ?? 0) && seq <= head)
    const records = [...answer.casts, ...answer.swaps].map(({ record }) => record)
    return Effect.all(
      [
        equal(answer.casts.length, casts.length, "answers to casts"),
        equal(answer.swaps.length, swaps.length, "answers to swaps"),
        expect(records.every(isRecord), aRecord, records),
        expect(
          answer.casts.every(({ tally }) => isTally(tally)),
          aTally,
          answer.casts
        ),
        expect(isWhole(live), "a whole number of live voters", live),
        expect(isLife(life), "a life of letters, digits, - and _", life),
        expect(isAge(liveFor), "a `liveFor` of 0 or more milliseconds", liveFor),
        expect(isWhole(head), "a head that is a whole number", head),
        expect(ascending, "roll calls that ascend up to the head", answer)
      ],
      { discard: true }
    )
  }

  /** An exchange with one swap; see {@link swapOf}. */
  swap(circuit: string, request: Partial<Omit<Swap, "circuit">> = {}, floor = 0): Effect.Effect<SwapAnswer, Miss> {
    return Effect.flatMap(this.done({ floor, swaps: [swapOf(circuit, request)] }), ({ swaps: [answer] }) =>
      answer === undefined || (answer.swapped && answer.record === undefined)
        ? miss("the current record", answer)
        : Effect.succeed(answer)
    )
  }

  /** A swap that must succeed. Returns the record. */
  write(circuit: string, request: Partial<Omit<Swap, "circuit">> = {}, floor = 0): Effect.Effect<Stored, Miss> {
    return Effect.flatMap(this.swap(circuit, request, floor), ({ record, swapped }) =>
      swapped && record !== undefined
        ? Effect.succeed(record)
        : miss(`a successful swap of epoch ${request.expectedEpoch ?? 0}, the current epoch`, { swapped, record })
    )
  }

  loadAll(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Stored | undefined>, Miss> {
    return Effect.suspend(() => this.run("load", (store) => store.load(circuits))).pipe(
      Effect.tap(({ time }) => expect(isAge(time), "a time of 0 or more milliseconds", time)),
      Effect.map(({ records }) => records),
      Effect.tap((records) => equal(records.length, circuits.length, "records in the answer")),
      Effect.tap((records) => expect(records.every(isRecord), aRecord, records))
    )
  }

  load(circuit: string): Effect.Effect<Stored | undefined, Miss> {
    return Effect.map(this.loadAll([circuit]), ([record]) => record)
  }

  page(since = 0, limit: number = limits.page): Effect.Effect<PageAnswer, Miss> {
    return Effect.suspend(() => this.run("page", (store) => store.page(since, limit))).pipe(
      Effect.tap(({ changes, epoch, listed, live, time, trimmed }) => {
        const ascending = changes.every((one, index) => one.epoch > (changes[index - 1]?.epoch ?? since))
        return Effect.all(
          [
            expect(isAge(time), "a time of 0 or more milliseconds", time),
            expect([live, epoch, trimmed, listed].every(isWhole), "whole numbers", { live, epoch, trimmed, listed }),
            expect(ascending, `epochs that ascend from ${since}`, changes),
            expect(changes.length <= limit, `at most ${limit} changes`, changes.length),
            expect(
              changes.every(({ record }) => isRecord(record)),
              `each to be ${aRecord}`,
              changes
            ),
            expect(
              changes.every(({ epoch, record }) => record === undefined || record.epoch === epoch),
              "records of the epoch of the change",
              changes
            )
          ],
          { discard: true }
        )
      })
    )
  }

  /** All changes after an epoch, read in pages. */
  pages(since = 0, limit: number = limits.page): Effect.Effect<ReadonlyArray<Changed>, Miss> {
    return Effect.flatMap(this.page(since, limit), ({ changes }) =>
      changes.length < limit
        ? Effect.succeed(changes)
        : Effect.map(this.pages(changes.at(-1)?.epoch, limit), (more) => [...changes, ...more])
    )
  }

  /** Some of the digests of all live voters. */
  private someDigests(after: string): Effect.Effect<DigestsAnswer, Miss> {
    return Effect.suspend(() => this.run("digests", (store) => store.digests(after))).pipe(
      Effect.tap(({ time }) => expect(isAge(time), "a time of 0 or more milliseconds", time)),
      // A store may scan more than it was asked for.
      Effect.tap(({ digests: { length } }) => {
        const most = 3 * limits.digests
        return expect(length <= most, `at most ${most} digests in one answer`, length)
      }),
      Effect.tap(({ digests }) =>
        expect(
          digests.every(({ digest, voter }) => typeof digest === "string" && typeof voter === "string" && voter !== ""),
          "a voter and a text each",
          digests
        )
      )
    )
  }

  /** The digest of each live voter, read one answer after the other. */
  get digests(): Effect.Effect<ReadonlyMap<string, string>, Miss> {
    return Effect.gen({ self: this }, function* () {
      const found = new Map<string, string>()
      let after: string | undefined = ""
      for (let answers = 0; after !== undefined; answers++) {
        if (answers === 1_000) return yield* miss("a last answer", "1,000 answers")
        const answer: DigestsAnswer = yield* this.someDigests(after)
        for (const { digest, voter } of answer.digests) found.set(voter, digest)
        after = answer.next
      }
      return found
    })
  }

  /** The listed records of a circuit in the pages. */
  listed(circuit: string) {
    return Effect.map(this.pages(), (changes) =>
      changes.flatMap((one) =>
        one.circuit === circuit && one.listed && one.record !== undefined ? [{ ...one.record, circuit }] : []
      )
    )
  }

  /** The number of live voters. */
  get live(): Effect.Effect<number, Miss> {
    return Effect.map(this.page(Number.MAX_SAFE_INTEGER, 1), ({ live }) => live)
  }

  /** An exchange with one cast; see {@link castOf}. Its voter belongs to this trial, and is live for a minute. */
  cast(circuit: string, request: Request = {}, heard = 0): Effect.Effect<CastAnswer, Miss> {
    const { voter = "voter", ...more } = request
    return Effect.flatMap(
      this.done({ voter: this.voter(voter), ttl: long, heard, casts: [castOf(circuit, more)] }),
      ({ casts: [answer] }) => (answer === undefined ? miss("an answer to the cast", answer) : Effect.succeed(answer))
    )
  }

  /** A cast that must count. Returns the tally. */
  vote(circuit: string, request: Request = {}, heard = 0): Effect.Effect<StoredTally, Miss> {
    return Effect.flatMap(this.cast(circuit, request, heard), ({ record, tally }) =>
      tally === undefined
        ? miss(`a tally, because epoch ${request.epoch ?? 0} is current`, { tally, record })
        : Effect.succeed(tally)
    )
  }

  /** Reads the tally of a box. Changes no ballot, and makes no voter live. */
  tally(circuit: string, epoch = 0, box = "box"): Effect.Effect<StoredTally, Miss> {
    const cast = castOf(circuit, { epoch, box, ballot: undefined })
    return Effect.flatMap(this.done({ casts: [cast] }), ({ casts: [answer] }) =>
      answer?.tally === undefined
        ? miss(`a tally, because epoch ${epoch} is current`, answer)
        : Effect.succeed(answer.tally)
    )
  }

  /** Checks that a tally is the sum of these ballots. */
  holds(tally: StoredTally, ballots: ReadonlyArray<ReadonlyArray<number>>, why: string): Effect.Effect<void, Miss> {
    const length = Math.max(0, ...ballots.map((ballot) => ballot.length))
    const sums = Array.from({ length: length }, (_, index) => ballots.reduce((sum, one) => sum + (one[index] ?? 0), 0))
    const found = [...tally.sums]
    while (found.length > length && found.at(-1) === 0) found.pop()
    while (found.length < length) found.push(0)
    return Effect.andThen(
      equal(tally.voters, ballots.length, `voters, ${why}`),
      expect(Equal.equals(found, sums), `sums, ${why}: ${show(sums)}`, tally.sums)
    )
  }

  /** Repeats `look` until its result is as expected. Fails after {@link patience}. */
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
    return this.until(this.load(circuit), (record) => record === undefined, "no record after its ttl")
  }

  /** Checks an age: the event happened after `start`, and at least `atLeast` milliseconds ago. */
  aged(age: number | undefined, start: number, atLeast: number, what: string): Effect.Effect<void, Miss> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const atMost = now - start + slack
      const fits = age !== undefined && age >= atLeast - slack && age <= atMost
      return expect(fits, `${what} from ${Math.max(0, atLeast - slack)} to ${atMost} ms ago`, age)
    })
  }

  /** Makes a voter live, at most until the trial ends. */
  join(voter: string, ttl = long, heard = 0): Effect.Effect<ExchangeDone, Miss> {
    return this.done({ voter, ttl, heard })
  }

  /** Makes a voter leave: it is no longer live. */
  leave(voter: string): Effect.Effect<ExchangeDone, Miss> {
    return this.done({ voter, ttl: 0 })
  }

  /** Removes the voters of the trial. */
  get end(): Effect.Effect<void> {
    return Effect.forEach(this.voters, (voter) => Effect.ignore(this.leave(voter)), { concurrency: 8, discard: true })
  }

  /** Collects all announcements to a handle from now on. A stream that ends or fails is run again, as the engine does. */
  listen(handle: number): Effect.Effect<ReadonlyArray<Change>, Miss, Scope.Scope> {
    const heard: Array<Change> = []
    const store = this.handles[handle % this.handles.length]
    if (store === undefined) return miss("a handle", "none")
    const listening = Effect.suspend(() =>
      Stream.runForEach(store.changes, (change) => Effect.sync(() => heard.push(change)))
    )
    const probe = Effect.suspend(() => this.write(this.name("probe"), { ttl: short, listed: false }))
    return Effect.forkScoped(Effect.forever(Effect.andThen(Effect.exit(listening), Effect.sleep(10)))).pipe(
      Effect.andThen(this.until(probe, () => heard.length > 0, "an announcement of a swap")),
      Effect.as(heard)
    )
  }

  /** Waits until all earlier announcements have arrived. */
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

/** Opens the handles of a bench. The scope closes them. */
export const open = (
  make: Effect.Effect<SharedStore, unknown, Scope.Scope>,
  patience: number
): Effect.Effect<Bench, Miss, Scope.Scope> =>
  Effect.forEach([1, 2], () => Effect.exit(make)).pipe(
    Effect.flatMap((exits) => {
      const failed = exits.find(Exit.isFailure)
      if (failed !== undefined) return miss("a handle on the store", Cause.pretty(failed.cause))
      const handles = exits.filter(Exit.isSuccess).map((exit) => exit.value)
      return Effect.acquireRelease(
        Effect.sync(() => new Bench(handles, patience)),
        (bench) => bench.end
      )
    })
  )
