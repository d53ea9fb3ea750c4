/** A store of one's own: five operations that keep texts and add up numbers, here in Maps; and the suite that finds what it does wrong. */
import { Clock, Effect, Fiber, Layer, Logger, PubSub, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, type SharedStore } from "effect-fuse"
import { SharedStoreContract } from "effect-fuse/testing"

type Row = { readonly era: number; readonly body: string; readonly at: number; readonly until: number; listed: boolean }
type Box = {
  readonly ballots: Map<string, { numbers: ReadonlyArray<number>; until: number }>
  asked: number | undefined
}

// What is over is not read any more; in earnest it should be deleted, too.
const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const changes = yield* PubSub.sliding<SharedStore.Change>(1_000)
  const rows = new Map<string, Row>()
  const boxes = new Map<string, Box>()
  const voices = new Map<string, { readonly until: number }>()
  let lastEra = 0

  const now = () => clock.currentTimeMillisUnsafe()
  const alive = ({ until }: { readonly until: number }) => now() < until
  const stored = ({ at, body, era }: Row) => ({ era, body, age: now() - at })
  const load = (circuit: string): SharedStore.Stored | undefined => {
    const row = rows.get(circuit)
    return row !== undefined && alive(row) ? stored(row) : undefined
  }
  const live = () => [...voices.values()].filter(alive).length

  const list = (voice: string, ttl: number): SharedStore.ListAnswer => {
    voices.set(voice, { until: now() + ttl })
    const listed = [...rows].filter(([, row]) => row.listed && alive(row))
    return { records: listed.map(([circuit, row]) => ({ circuit, ...stored(row) })), live: live() }
  }
  const swap = ({ body, circuit, expectedEra, listed, ttl }: SharedStore.Swap): SharedStore.SwapAnswer => {
    if ((load(circuit)?.era ?? 0) !== expectedEra) return { swapped: false, record: load(circuit) }
    rows.set(circuit, { era: ++lastEra, body, listed, at: now(), until: now() + (ttl ?? Infinity) })
    PubSub.publishUnsafe(changes, { _tag: "Record", circuit, era: lastEra, body })
    return { swapped: true, record: load(circuit) }
  }
  const cast = ({ ballot, box: name, circuit, era, inquire, ttl, voice }: SharedStore.Cast): SharedStore.CastAnswer => {
    const record = load(circuit)
    if ((record?.era ?? 0) !== era) return { record, tally: undefined, live: live() }
    // With the latest swap in its name, so that no box outlives one, nor a record that was forgotten.
    const id = `${circuit} ${rows.get(circuit)?.era ?? 0} ${era} ${name}`
    const box: Box = boxes.get(id) ?? { ballots: new Map(), asked: undefined }
    boxes.set(id, box)
    box.ballots.set(voice, { numbers: ballot ?? [], until: ballot === undefined ? 0 : now() + ttl })
    if (inquire > 0 && (box.asked === undefined || now() - box.asked >= inquire)) {
      box.asked = now()
      PubSub.publishUnsafe(changes, { _tag: "Inquiry", circuit, era, box: name })
    }
    const said = [...box.ballots.values()].filter(alive).map(({ numbers }) => numbers)
    const sums = (said[0] ?? []).map((_, place) => said.reduce((sum, numbers) => sum + (numbers[place] ?? 0), 0))
    const asked = box.asked === undefined ? undefined : now() - box.asked
    return { record, tally: { voices: said.length, sums, asked }, live: live() }
  }
  const store: SharedStore.SharedStore = {
    cast: (request) => Effect.sync(() => cast(request)),
    swap: (request) => Effect.sync(() => swap(request)),
    load: (circuit) => Effect.sync(() => load(circuit)),
    list: (voice, ttl) => Effect.sync(() => list(voice, ttl)),
    changes: Stream.fromPubSub(changes)
  }
  return store
})

/** In a test file: `for (const { name, test } of SharedStoreContract.cases(make)) it.live(name, () => test)`. */
const violations = (store: SharedStore.SharedStore) =>
  Effect.gen(function* () {
    const suite = Effect.flip(SharedStoreContract.run(Effect.succeed(store)))
    const fiber = yield* Effect.forkChild(Effect.orElseSucceed(suite, () => []))
    // It sleeps, here in virtual time, as this store has no other.
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("5 millis")
    return yield* Fiber.join(fiber)
  })

const program = Effect.gen(function* () {
  const store = yield* make
  console.log(`${(yield* violations(store)).length} sentences of the contract are not kept`)
  const forgetful: SharedStore.SharedStore = { ...store, swap: (swap) => store.swap({ ...swap, ttl: undefined }) }
  for (const { message } of yield* violations(forgetful)) console.log(message.split("\n")[0])

  const processes = yield* Effect.forEach(["a", "b"], (process) =>
    Layer.build(BreakerStore.layerShared(store, { process }))
  )
  const everywhere = <A>(effect: Effect.Effect<A, never, BreakerStore.BreakerStore>) =>
    Effect.forEach(processes, (context) => Effect.provideContext(effect, context))
  yield* Effect.andThen(everywhere(CircuitBreaker.isolate("api")), TestClock.adjust("1 second"))
  console.log((yield* everywhere(CircuitBreaker.state("api"))).join(", "))
})

await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.provide(Logger.layer([])))
)
