/**
 * A text for each state of a small world, the same for two states only if all that can follow is the same. Times are distances from
 * now, processes that do the same are interchangeable, and what no step depends on is left out.
 */
import type { Flight, Process, State } from "./model.ts"
import { newsOf, type MemoryState as StoreState, textOf } from "./store.ts"

/** Remembers the text of each object at its latest time, because states share most of their parts. */
const kept = <Key extends object, A>(make: (key: Key, time: number) => A): ((key: Key, time: number) => A) => {
  const known = new WeakMap<Key, { readonly time: number; readonly made: A }>()
  return (key, time) => {
    const found = known.get(key)
    if (found?.time === time) return found.made
    const made = make(key, time)
    known.set(key, { time, made })
    return made
  }
}

const news = kept(newsOf)

/** What a process would learn from the store if it asked now. */
export const newsIn = ({ store, time }: State): string => news(store, time)

/** A distance from a deadline, rounded: only whether the deadline is over matters, and time passes by a millisecond or by hundreds. */
const coarse = (millis: number): number => Math.ceil(millis / 100)

/** Roll calls are numbered by the time. */
const numbered = (seq: number, time: number): number => (seq === 0 ? 0 : seq - time * 1_000)

/** `judges`: the process makes something of the tally. */
const textOfFlight = (flight: Flight | undefined, time: number, judges: boolean): string => {
  if (flight === undefined) return "-"
  const { answer, before, hasSay, request, seen, sentAt, wrong } = flight
  const { casts, heard, notAfter, swaps } = request
  const [cast] = casts
  const sent = [
    cast === undefined ? "" : `${cast.ballot?.[0]} ${cast.roll} ${cast.ttl}`,
    numbered(heard, time),
    coarse((notAfter ?? 0) - time),
    coarse(time - sentAt),
    swaps.length,
    numbered(before.latest, time),
    numbered(before.missing, time),
    hasSay,
    wrong === undefined
  ].join(" ")
  if (answer === undefined) return sent
  if (answer._tag === "Late") return `${sent} late`
  const { head, live, liveFor, rollCalls } = answer
  const [cast0] = answer.casts
  const tally = cast0?.tally
  const rolled = tally?.rolled === undefined ? "" : time - answer.time + tally.rolled
  const judged = judges
    ? `${seen} ${live} ${liveFor} ${tally?.voters} ${tally?.abstained} ${tally?.sums.join(",")}`
    : ""
  const told = rollCalls.map(({ seq }) => numbered(seq, time)).join(",")
  return `${sent} ${numbered(head, time)} ${told} ${cast0?.record?.epoch} ${tally === undefined} ${rolled} ${judged}`
}

const textOfProcess = kept((one: Process, time): string => {
  const { abstained, announced, casts, crashedAt = 0, due, epoch, firstCall, hearing, live, role, roll } = one
  if (!one.up) return `${role} ${time - crashedAt} ${firstCall}`
  const judges = role === "failing"
  return [
    ...[role, abstained, due, roll, firstCall, epoch],
    one.rolledAt === Number.NEGATIVE_INFINITY ? "" : time - one.rolledAt,
    judges ? `${one.seen} ${live}` : "",
    ...[hearing.confirmed, hearing.latest, hearing.missing].map((seq) => numbered(seq, time)),
    hearing.queued.map(({ seq }) => numbered(seq, time)).join(","),
    announced.map(({ prev, seq }) => `${numbered(prev, time)} ${numbered(seq, time)}`).join(","),
    textOfFlight(casts, time, judges),
    textOfFlight(swap(one), time, judges)
  ].join(" ")
})

const swap = ({ swap }: Process): Flight | undefined => swap

const inOrder = kept((store: StoreState, time) => textOf(store, time, ["p0", "p1", "p2"]))
const mirrored = kept((store: StoreState, time) => textOf(store, time, ["p1", "p0", "p2"]))

/** `isSymmetric`: the first two processes may change places, as they do the same from the beginning. */
export const keyOf =
  (isSymmetric: boolean) =>
  ({ left, processes, recoveredAt, store, stray, time }: State): string => {
    const [first = "", second = "", ...others] = processes.map((one) => textOfProcess(one, time))
    const common = [...others, Object.values(left).join(""), recoveredAt === undefined ? "" : time - recoveredAt].join(
      "|"
    )
    const strays = (...order: ReadonlyArray<number>): string =>
      stray
        .map(({ flight, from }) => `${order[from]} ${textOfFlight(flight, time, false)}`)
        .sort()
        .join("|")
    const straight = (): string => `${inOrder(store, time)}|${first}|${second}|${strays(0, 1, 2)}|${common}`
    const turned = (): string => `${mirrored(store, time)}|${second}|${first}|${strays(1, 0, 2)}|${common}`
    if (!isSymmetric || first < second) return straight()
    if (second < first) return turned()
    const [one, other] = [straight(), turned()]
    return one < other ? one : other
  }
