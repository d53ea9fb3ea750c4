import * as Stream from "effect/Stream"
import type { Change, StoreError } from "../../SharedStore.ts"
import { bounded } from "./bounded.ts"
import type { Cursors } from "./cursors.ts"
import { type Kept, unwrap } from "./kept.ts"
import type { Region } from "./region.ts"

interface Ground {
  readonly regions: ReadonlyArray<Region>
  readonly cursors: Cursors
  /** Which epoch of all an epoch of one store is. */
  readonly epochOf: (place: number, circuit: string, own: number) => number
  readonly remember: (place: number, circuit: string, kept: Kept | undefined) => void
}

/** A listener to all stores: answers with what is new of what one of them announces. */
export const listener = ({ cursors, epochOf, regions, remember }: Ground) => {
  /** Which stores have announced the latest record of a circuit. */
  const records = new Map<string, { readonly epoch: number; readonly places: Set<number>; readonly told: boolean }>()
  /** The roll calls that were told. */
  const rollCalls = new Map<number, undefined>()
  /** How many inquiries each store has announced of a box, and how many were told. */
  const inquiries = new Map<string, { readonly of: Array<number>; told: number }>()

  return (place: number, change: Change): Stream.Stream<Change, StoreError> => {
    if (change._tag === "RollCall") {
      const epoch = epochOf(place, change.circuit, change.epoch)
      const rollCall = cursors.announced(place, { ...change, epoch })
      if (rollCall === undefined || rollCalls.has(rollCall.seq)) return Stream.empty
      bounded(rollCalls).set(rollCall.seq, undefined)
      return Stream.succeed({ ...rollCall, _tag: "RollCall" })
    }
    if (change._tag === "Inquiry") {
      const box = `${change.circuit} ${change.box}`
      const counted = inquiries.get(box) ?? { of: [], told: 0 }
      bounded(inquiries).set(box, counted)
      const announced = (counted.of[place] ?? 0) + 1
      counted.of[place] = announced
      // All stores announce each: the first that does is told.
      if (announced <= counted.told) return Stream.empty
      counted.told = announced
      // A store that was not heard meanwhile is one behind at most: when the others fail it is the first.
      regions.forEach((_, other) => {
        counted.of[other] = Math.max(counted.of[other] ?? 0, announced - 1)
      })
      counted.of[place] = announced
      return Stream.succeed({ ...change, epoch: epochOf(place, change.circuit, change.epoch) })
    }
    const { body, circuit, epoch: own } = change
    const kept = unwrap({ body, epoch: own, age: 0 })
    if (kept === undefined) return Stream.empty
    remember(place, circuit, kept)
    const latest = records.get(circuit)
    if (latest !== undefined && kept.epoch < latest.epoch) return Stream.empty
    const isSame = latest?.epoch === kept.epoch
    const places = isSame ? latest.places : new Set<number>()
    places.add(place)
    // What one store announces is told when most of those that can be reached have announced it.
    const most = Math.floor(regions.filter((region) => region.reachable).length / 2) + 1
    const wasTold = isSame && latest.told
    const isTold = !wasTold && places.size >= most
    bounded(records).set(circuit, { epoch: kept.epoch, places, told: wasTold || isTold })
    return isTold ? Stream.succeed({ _tag: "Record", circuit, epoch: kept.epoch, body: kept.body }) : Stream.empty
  }
}
