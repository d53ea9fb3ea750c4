/**
 * A custom store keeps its data in Maps. One operation writes, three operations read, and the store announces changes. A test suite checks
 * the store.
 * The sections have the names of the files of the library's stores, as in src/store/memory, src/redis and src/sql.
 */
import { Clock, Effect, Fiber, Layer, Logger, PubSub, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, SharedStore } from "effect-fuse"
import { SharedStoreContract } from "effect-fuse/testing"

/** The record of a circuit, as this store keeps it. */
interface StoredRecord {
  readonly epoch: number
  readonly body: string
  readonly at: number
  readonly until: number
  readonly listed: boolean
}
/** A live process, with its latest digest. */
interface StoredVoter {
  readonly life: number
  readonly until: number
  readonly heard: number
  readonly digest?: string | undefined
}
/** A box with the ballots of a circuit. */
interface BallotBox {
  readonly ballots: Map<string, { readonly numbers: ReadonlyArray<number>; readonly until: number }>
  asked: number | undefined
  roll: { readonly seq: number; readonly at: number; readonly term: number } | undefined
}

// A real store must also delete what has expired.
const make = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const changes = yield* PubSub.sliding<SharedStore.Change>(1_000)
  const announce = (change: SharedStore.Change) => PubSub.publishUnsafe(changes, change)
  const records = new Map<string, StoredRecord>()
  const boxes = new Map<string, BallotBox>()
  const voters = new Map<string, StoredVoter>()
  const log: Array<SharedStore.RollCall & { readonly at: number }> = []
  const last = { epoch: 0, life: 0 }
  let born: { readonly at: number; readonly life: string } | undefined

  const now = () => clock.currentTimeMillisUnsafe()
  const lasts = ({ until }: { readonly until: number }) => now() < until
  const head = () => log.at(-1)?.seq ?? 0
  const live = () => [...voters.values()].filter(lasts)

  // ---- records

  const stored = (circuit: string): SharedStore.Stored | undefined => {
    const kept = records.get(circuit)
    return kept !== undefined && lasts(kept) ? { epoch: kept.epoch, body: kept.body, age: now() - kept.at } : undefined
  }

  // ---- ballotBoxes

  const counting = ({ roll }: BallotBox) => (roll !== undefined && now() - roll.at < roll.term ? roll : undefined)
  const tally = (box: BallotBox): SharedStore.StoredTally => {
    const { asked, ballots } = box
    const roll = counting(box)
    const all = [...ballots.values()].filter(lasts).map(({ numbers }) => numbers)
    const heard = roll === undefined ? 0 : live().filter((voter) => voter.heard >= roll.seq).length
    return {
      voters: all.length,
      sums: (all[0] ?? []).map((_, index) => all.reduce((sum, numbers) => sum + (numbers[index] ?? 0), 0)),
      asked: asked === undefined ? undefined : now() - asked,
      rolled: roll === undefined ? undefined : now() - roll.at,
      abstained: Math.max(0, heard - all.length)
    }
  }
  const cast = (voter: string, cast: SharedStore.Cast): SharedStore.CastAnswer => {
    const { ballot, box: name, circuit, epoch, inquire, roll, ttl } = cast
    const record = stored(circuit)
    if ((record?.epoch ?? 0) !== epoch) return { record, tally: undefined }
    // The name contains the epoch of the record, so that no box outlives a swap.
    const id = `${circuit} ${records.get(circuit)?.epoch ?? 0} ${epoch} ${name}`
    const box: BallotBox = boxes.get(id) ?? { ballots: new Map(), asked: undefined, roll: undefined }
    boxes.set(id, box)
    box.ballots.delete(voter)
    const life = voters.get(voter)
    if (ballot !== undefined && life !== undefined) {
      const end = now() + ttl
      // A ballot counts while this life of its voter lasts. Later exchanges may prolong the life.
      const isAlive = () => voters.get(voter)?.life === life.life && lasts(voters.get(voter) ?? life)
      box.ballots.set(voter, {
        numbers: ballot,
        get until() {
          return isAlive() ? end : 0
        }
      })
      if (inquire > 0 && (box.asked === undefined || now() - box.asked >= inquire)) {
        box.asked = now()
        announce({ _tag: "Inquiry", circuit, epoch, box: name })
      }
      if (roll > 0 && now() - (counting(box)?.at ?? -Infinity) >= roll) {
        const term = Math.min(roll, SharedStore.limits.rollCallMillis)
        const rollCall = { seq: Math.max(head() + 1, now() * 1_000), prev: head(), circuit, epoch, box: name, term }
        box.roll = { seq: rollCall.seq, at: now(), term }
        log.push({ ...rollCall, at: now() })
        announce({ _tag: "RollCall", ...rollCall })
      }
    }
    return { record, tally: tally(box) }
  }

  // ---- exchange

  const swap = (
    floor: number,
    { body, circuit, expectedEpoch, listed, ttl }: SharedStore.Swap
  ): SharedStore.SwapAnswer => {
    const record = stored(circuit)
    if ((record?.epoch ?? 0) !== expectedEpoch) return { swapped: false, record }
    last.epoch = Math.max(last.epoch, floor, now() * 1_000) + 1
    records.set(circuit, { epoch: last.epoch, body, listed, at: now(), until: now() + (ttl ?? Infinity) })
    announce({ _tag: "Record", circuit, epoch: last.epoch, body })
    return { swapped: true, record: stored(circuit) }
  }

  const exchange = (request: SharedStore.Exchange): SharedStore.ExchangeAnswer => {
    const { casts, floor, heard, life: heardIn, notAfter = Infinity, swaps, ttl, voter } = request
    const time = now()
    if (time > notAfter) return { _tag: "Late", time }
    born ??= { at: time, life: globalThis.crypto.randomUUID() }
    const was = voters.get(voter)
    const lived: StoredVoter = was !== undefined && lasts(was) ? was : { heard: 0, life: ++last.life, until: 0 }
    const lives = { ...lived, until: time + ttl, digest: request.digest ?? lived.digest }
    if (ttl > 0) voters.set(voter, lives)
    else voters.delete(voter)
    const answers = { casts: casts.map((one) => cast(voter, one)), swaps: swaps.map((one) => swap(floor, one)) }
    // Set `heard` after the casts, because `heard` confirms that the voter has cast its ballots for these roll calls.
    const valid = heardIn !== born.life || heard > head() ? 0 : heard
    if (ttl > 0) voters.set(voter, { ...lives, heard: valid })
    const { logMillis } = SharedStore.limits
    const kept = log.filter(({ at, seq, term }) => seq > valid && time - at <= term + logMillis)
    const rollCalls = kept.slice(0, SharedStore.limits.rollCalls).map(({ at: _, ...rollCall }) => rollCall)
    const { at, life: own } = born
    return {
      _tag: "Done",
      time,
      live: live().length,
      liveFor: time - at,
      life: own,
      head: head(),
      rollCalls,
      ...answers
    }
  }

  // ---- reads

  const page = (since: number, limit: number): SharedStore.PageAnswer => {
    const all = [...records].sort(([, a], [, b]) => a.epoch - b.epoch)
    const newer = all.filter(([, { epoch }]) => epoch > since).slice(0, limit)
    return {
      time: now(),
      live: live().length,
      life: born?.life ?? "",
      epoch: last.epoch,
      trimmed: 0,
      listed: all.filter(([, kept]) => kept.listed && lasts(kept)).length,
      changes: newer.map(([circuit, { epoch, listed }]) => ({ circuit, epoch, listed, record: stored(circuit) }))
    }
  }
  const load = (circuits: ReadonlyArray<string>): SharedStore.LoadAnswer => ({
    time: now(),
    records: circuits.map(stored)
  })
  const digests = (after: string): SharedStore.DigestsAnswer => {
    const all = [...voters].flatMap(([voter, kept]) =>
      voter > after && lasts(kept) && kept.digest !== undefined ? [{ voter, digest: kept.digest }] : []
    )
    const some = all.sort((a, b) => (a.voter < b.voter ? -1 : 1)).slice(0, SharedStore.limits.digests)
    return { time: now(), digests: some, next: some.length < all.length ? some.at(-1)?.voter : undefined }
  }

  // ---- store

  const store: SharedStore.SharedStore = {
    exchange: (request) => Effect.sync(() => exchange(request)),
    page: (since, limit) => Effect.sync(() => page(since, limit)),
    load: (circuits) => Effect.sync(() => load(circuits)),
    digests: (after) => Effect.sync(() => digests(after)),
    changes: Stream.fromPubSub(changes)
  }
  return store
})

/** In a test file, use `for (const { name, test } of SharedStoreContract.cases(make)) it.live(name, () => test)`. */
const violations = (store: SharedStore.SharedStore) =>
  Effect.gen(function* () {
    const suite = Effect.flip(SharedStoreContract.run(Effect.succeed(store)))
    const fiber = yield* Effect.forkChild(Effect.orElseSucceed(suite, () => []))
    // The cases sleep in virtual time, because this store uses no other clock.
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("5 millis")
    return yield* Fiber.join(fiber)
  })

const program = Effect.gen(function* () {
  const store = yield* make
  console.log(`${(yield* violations(store)).length} cases of the contract failed`)
  const forgetful: SharedStore.SharedStore = {
    ...store,
    exchange: (request) =>
      store.exchange({ ...request, swaps: request.swaps.map((swap) => ({ ...swap, ttl: undefined })) })
  }
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
