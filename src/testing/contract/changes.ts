import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type { Change } from "../../store/SharedStore.ts"
import { type Bench, equal, expect, long, show, type Trial, trial } from "./bench.ts"
import { bodies } from "./records.ts"

/** Listeners on every handle, and a second one on the first. */
const listeners = (bench: Bench) => Effect.forEach([...bench.handles.keys(), 0], (handle) => bench.listen(handle))

const of = (circuit: string) => (change: Change) => change.circuit === circuit

export const changes: ReadonlyArray<Trial> = [
  trial("a swap is announced to every listener, with its epoch and body", function* (bench) {
    const all = yield* listeners(bench)
    const circuit = bench.name("circuit")
    const swaps: Array<Change> = []
    // A store may lose single announcements, so the swap is repeated until every listener has received one.
    const swap = Effect.gen(function* () {
      const body = `${swaps.length} \u{1f9ef}\n"`
      const { epoch } = yield* bench.write(circuit, { expectedEpoch: swaps.at(-1)?.epoch ?? 0, body })
      swaps.push({ _tag: "Record", circuit, epoch, body })
      yield* Effect.sleep(30)
      return all.map((heard) => heard.filter(of(circuit)))
    })
    const heard = yield* bench.until(
      swap,
      (found) => found.every((one) => one.length > 0),
      `that ${all.length} listeners receive the announcement of a swap`
    )
    for (const change of heard.flat()) {
      const made = swaps.some((swap) => Equal.equals(swap, change))
      yield* expect(made, `an announcement that equals one of the swaps: ${show(swaps)}`, change)
    }
  }),

  trial("an announced body equals the body that was written, whatever its text", function* (bench) {
    const heard = yield* bench.listen(0)
    for (const [kind, body] of bodies) {
      const circuit = bench.name("circuit")
      const { epoch } = yield* bench.write(circuit, { body, ttl: 20_000 })
      yield* bench.settled(heard)
      for (const change of heard.filter(of(circuit))) {
        yield* equal(change, { _tag: "Record", circuit, epoch, body }, `an announcement with a body of ${kind}`)
      }
    }
  }),

  trial("an inquiry is announced to every listener when it begins, and not when a voter joins it", function* (bench) {
    const all = yield* listeners(bench)
    const begin = Effect.gen(function* () {
      const circuit = bench.name("circuit")
      const { epoch } = yield* bench.write(circuit, { ttl: 20_000 })
      yield* bench.vote(circuit, { epoch, box: "box/1", inquire: long })
      yield* Effect.sleep(30)
      const heard = all.map((one) => one.filter(of(circuit)).filter(({ _tag }) => _tag === "Inquiry"))
      return { circuit, epoch, heard }
    })
    const { circuit, epoch, heard } = yield* bench.until(
      begin,
      ({ heard }) => heard.every((one) => one.length > 0),
      `that ${all.length} listeners receive the announcement of an inquiry`
    )
    for (const change of heard.flat()) {
      yield* equal(change, { _tag: "Inquiry", circuit, epoch, box: "box/1" }, "an announcement of the inquiry")
    }
    const join = (n: number) => bench.vote(circuit, { epoch, box: "box/1", voter: `voter-${n}`, inquire: long })
    yield* Effect.forEach(
      Array.from({ length: 20 }, (_, n) => n),
      join,
      { concurrency: 5 }
    )
    for (const one of all) {
      yield* bench.settled(one)
      const times = one.filter(of(circuit)).filter(({ _tag }) => _tag === "Inquiry").length
      // A store may deliver an announcement twice, and more often if it consists of several stores.
      yield* expect(times <= 5, "at most 5 announcements of an inquiry that 21 voters joined", times)
    }
  }),

  trial("a roll call is announced to every listener, with its number and the number before it", function* (bench) {
    const all = yield* listeners(bench)
    const begin = Effect.gen(function* () {
      const circuit = bench.name("circuit")
      const { epoch } = yield* bench.write(circuit, { ttl: 20_000 })
      const { head: prev } = yield* bench.done({ heard: Number.MAX_SAFE_INTEGER })
      yield* bench.vote(circuit, { epoch, box: "box/1", roll: long })
      const { head: seq } = yield* bench.done()
      yield* Effect.sleep(30)
      const heard = all.map((one) => one.filter(of(circuit)).filter(({ _tag }) => _tag === "RollCall"))
      return { expected: { _tag: "RollCall", seq, prev, circuit, epoch, box: "box/1", term: long } as const, heard }
    })
    const { expected, heard } = yield* bench.until(
      begin,
      ({ heard }) => heard.every((one) => one.length > 0),
      `that ${all.length} listeners receive the announcement of a roll call`
    )
    for (const change of heard.flat()) yield* equal(change, expected, "an announcement of the roll call")
  }),

  trial("an exchange that changes nothing and a cast that inquires nothing are not announced", function* (bench) {
    const heard = yield* bench.listen(0)
    const circuit = bench.name("circuit")
    const { epoch } = yield* bench.write(circuit)
    yield* bench.swap(circuit, { expectedEpoch: 0, body: "loser" })
    yield* bench.swap(circuit, { expectedEpoch: epoch + 1, body: "loser" })
    yield* bench.cast(circuit, { epoch: epoch + 1, inquire: long, roll: long })
    yield* bench.cast(circuit, { epoch: 0, inquire: long, roll: long })
    yield* bench.cast(circuit, { epoch, ballot: undefined, inquire: long, roll: long })
    for (const ballot of [[1], [2], undefined]) yield* bench.cast(circuit, { epoch, ballot })
    yield* bench.load(circuit)
    yield* bench.page()
    yield* bench.join(bench.name("voter"))
    yield* bench.settled(heard)
    const more = heard.filter((one) => one.circuit === circuit && (one._tag !== "Record" || one.body !== "body"))
    yield* equal(more, [], "announcements of the circuit other than that of its only swap")
  })
]
