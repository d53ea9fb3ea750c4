import * as Effect from "effect/Effect"
import { limits, type Swap } from "../SharedStore.ts"
import { endOf, type QuorumReads } from "./reads.ts"
import { isSame, majority, unwrap, written } from "./records.ts"
import { every, type Regions } from "./regions.ts"

/** Compares the records of all stores, one page for each heartbeat. */
export const compare = (regions: Regions, reads: QuorumReads): Effect.Effect<void> =>
  Effect.suspend(() => {
    const from = regions.compared
    if (from === undefined) return Effect.void
    return Effect.flatMap(reads.pageAfter(from, limits.page), (pages) => {
      const end = endOf(pages, limits.page)
      regions.compared = end < Infinity && end > from ? end : undefined
      return Effect.ignore(reads.agree(pages, from, end))
    })
  })

/** Writes the record that most stores have to the stores that have another one, if they still have it. */
export const repair = (regions: Regions, reads: QuorumReads): Effect.Effect<void> =>
  Effect.suspend(() => {
    const circuits = regions.takeDisputed(limits.swaps)
    if (circuits.length === 0) return Effect.void
    return Effect.flatMap(reads.look(circuits), (views) => {
      // Records for an unreachable store stay disputed until it is reachable.
      if (views.length < regions.all.length) for (const circuit of circuits) regions.dispute(circuit)
      return Effect.forEach(
        views,
        ({ index, kept, own }) => {
          const swaps = circuits.flatMap((circuit): ReadonlyArray<Swap> => {
            const holds = majority(views.map((view) => view.kept.get(circuit)))
            if (isSame(kept.get(circuit), holds)) return []
            return [{ circuit, expectedEpoch: own.get(circuit) ?? 0, ...written(holds) }]
          })
          const region = regions.all[index]
          if (swaps.length === 0 || region === undefined) return Effect.void
          const request = { voter: "repair", ttl: 0, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps }
          return Effect.map(
            region.ask((store) => store.exchange(request)),
            (reply) => {
              if (reply?.value._tag !== "Done") return
              for (const [i, { circuit }] of swaps.entries()) {
                regions.remember(index, circuit, unwrap(reply.value.swaps[i]?.record))
              }
            }
          )
        },
        { ...every, discard: true }
      )
    })
  })
