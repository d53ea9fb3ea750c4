import * as Stream from "effect/Stream"
import { remember } from "../../core/remember.ts"
import type { Change, StoreError } from "../SharedStore.ts"
import { unwrap } from "./records.ts"
import { maxRemembered, type Regions } from "./regions.ts"

/** Returns a function that takes each announcement of each store, and passes on what is new. */
export const listener = (regions: Regions) => {
  /** Which stores have announced the latest record of a circuit. */
  const records = new Map<
    string,
    { readonly epoch: number; readonly indexes: Set<number>; readonly passedOn: boolean }
  >()
  /** The roll calls that were passed on. */
  const rollCalls = new Map<number, undefined>()
  /** By box: how many inquiries each store has announced, and how many were passed on. */
  const inquiries = new Map<string, { readonly of: Array<number>; passedOn: number }>()

  return (index: number, change: Change): Stream.Stream<Change, StoreError> => {
    if (change._tag === "RollCall") {
      const epoch = regions.epochOf(index, change.circuit, change.epoch)
      const rollCall = regions.cursors.announced(index, { ...change, epoch })
      if (rollCall === undefined || rollCalls.has(rollCall.seq)) return Stream.empty
      remember(rollCalls, rollCall.seq, undefined, maxRemembered)
      return Stream.succeed({ ...rollCall, _tag: "RollCall" })
    }
    if (change._tag === "Inquiry") {
      const box = `${change.circuit} ${change.box}`
      const counted = inquiries.get(box) ?? { of: [], passedOn: 0 }
      remember(inquiries, box, counted, maxRemembered)
      const announced = (counted.of[index] ?? 0) + 1
      counted.of[index] = announced
      // Every store announces every inquiry: the first announcement is passed on.
      if (announced <= counted.passedOn) return Stream.empty
      counted.passedOn = announced
      // A silent store is assumed to be one inquiry behind, so that its next announcement is passed on if the others fail.
      regions.all.forEach((_, other) => {
        counted.of[other] = Math.max(counted.of[other] ?? 0, announced - 1)
      })
      counted.of[index] = announced
      return Stream.succeed({ ...change, epoch: regions.epochOf(index, change.circuit, change.epoch) })
    }
    const { body, circuit, epoch: own } = change
    const kept = unwrap({ body, epoch: own, age: 0 })
    if (kept === undefined) return Stream.empty
    regions.remember(index, circuit, kept)
    const latest = records.get(circuit)
    if (latest !== undefined && kept.epoch < latest.epoch) return Stream.empty
    const isSame = latest?.epoch === kept.epoch
    const indexes = isSame ? latest.indexes : new Set<number>()
    indexes.add(index)
    // A record is passed on once most of the stores that can be reached have announced it.
    const most = Math.floor(regions.all.filter((region) => region.reachable).length / 2) + 1
    const wasPassedOn = isSame && latest.passedOn
    const isPassedOn = !wasPassedOn && indexes.size >= most
    remember(records, circuit, { epoch: kept.epoch, indexes, passedOn: wasPassedOn || isPassedOn }, maxRemembered)
    return isPassedOn ? Stream.succeed({ _tag: "Record", circuit, epoch: kept.epoch, body: kept.body }) : Stream.empty
  }
}
