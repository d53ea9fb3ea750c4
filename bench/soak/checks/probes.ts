/** The number of concurrent probes does not exceed the policy. */
import { type History, meets, type Span, storeTrouble } from "../history.ts"
import { circuits, type Name } from "../lines.ts"
import { probes as places, probeTimeoutMillis } from "../policies.ts"
import { at, type Check } from "./check.ts"

interface Probe extends Span {
  readonly voice: string
  readonly id: number
  readonly scope: string
  readonly epoch: number | undefined
}

/**
 * The probes of a circuit that ended. A probe whose process was killed does not count.
 *
 * A probe is interrupted at its deadline. On a busy machine this happens late, but its lease is free all the same. The deadline counts
 * from when the call took its lease, which is after the call began and up to 50 milliseconds before it is admitted.
 *
 * A call that the fleet admits without a round trip uses a spare lease, which an earlier call asked for. Its deadline is not recorded, so
 * such a probe counts only at the time when it begins.
 */
const probesOf = ({ lives }: History, c: Name): ReadonlyArray<Probe> =>
  lives.flatMap(({ life, of }) =>
    of("call").flatMap(({ admitted, began, c: circuit, done, ended, epoch, id, scope, state }) =>
      circuit === c && state === "HalfOpen" && admitted !== undefined
        ? [
            {
              voice: life.voice,
              id,
              scope: scope ?? "",
              epoch,
              from: admitted,
              to: isSpare(scope, began, admitted)
                ? admitted
                : Math.min(ended ?? done ?? admitted, began + probeTimeoutMillis[c] - 1)
            }
          ]
        : []
    )
  )

/** No answer of the store arrives this fast. */
const roundTripMillis = 0.3

const isSpare = (scope: string | undefined, began: number, admitted: number): boolean =>
  scope === "fleet" && admitted - began < roundTripMillis

/** Groups of more than `most` probes in flight, as seen when the last of them began. */
const crowds = (probes: ReadonlyArray<Probe>, most: number): ReadonlyArray<ReadonlyArray<Probe>> =>
  probes
    .map((one) => probes.filter((other) => other.from <= one.from && one.from < other.to))
    .filter((together) => together.length > most)

const show = (c: Name, together: ReadonlyArray<Probe>) => {
  const said = together.map(
    ({ epoch, from, id, scope, to, voice }) => `${voice}#${id} ${scope} epoch ${epoch} ${at(from)}..${at(to)}`
  )
  return `${c}: ${said.join(", ")}`
}

/** How long a process may work alone after a fault, until it has connected and read the store. */
const settleMillis = 6_000

export const fleet: Check = {
  name: "with a healthy store, the fleet has no more probes in flight than leases",
  find: (history) => {
    const trouble = storeTrouble(history, "any", settleMillis)
    return circuits.flatMap((c) => {
      const shared = probesOf(history, c).filter(
        ({ from, scope, to }) => scope === "fleet" && !meets(trouble, from, to)
      )
      return crowds(shared, places[c]).map((together) => show(c, together))
    })
  }
}

export const own: Check = {
  name: "no process ever has more probes in flight than leases",
  find: (history) =>
    circuits.flatMap((c) => {
      const all = probesOf(history, c)
      const voices = [...new Set(all.map(({ voice }) => voice))]
      return voices.flatMap((voice) =>
        crowds(
          all.filter((probe) => probe.voice === voice),
          places[c]
        ).map((together) => show(c, together))
      )
    })
}
