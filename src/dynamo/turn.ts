import { exchange as carryOut } from "../store/memory/exchange.ts"
import { emptyState, type MemoryState } from "../store/memory/records.ts"
import type { Exchange, ExchangeDone, RollCall } from "../store/SharedStore.ts"
import { type BoxChange, rollTuple } from "./ballotBoxes.ts"
import { type CircuitChange, type Hub, liveVoter, type Pending, voterText } from "./hub.ts"
import type { CircuitItem } from "./records.ts"

/** A turn has read these values. */
export interface Found {
  readonly hub: Hub
  readonly time: number
  /** Contains the circuits of the exchange, with all committed changes. */
  readonly circuits: ReadonlyMap<string, CircuitItem>
  /** The voter has not received these roll calls. */
  readonly rollCalls: ReadonlyArray<RollCall>
  readonly newLife: () => string
}

export interface TurnDone {
  readonly answer: ExchangeDone
  /** The register gets this value for the voter. `undefined` if the voter is not live after the turn. */
  readonly voter: { readonly life: string; readonly text: string } | undefined
  readonly epoch: number
  readonly pending: Pending
}

export const circuitsOf = ({ casts, swaps }: Exchange): ReadonlyArray<string> => [
  ...new Set([...casts, ...swaps].map(({ circuit }) => circuit))
]

/** Returns the `seq` of the voter's last received roll call, or 0 if the voter knows another log. */
export const heardOf = ({ heard, life }: Exchange, hub: Hub): number =>
  life !== hub.life || heard > hub.head ? 0 : heard

/** Makes the state of a memory store from the values that a turn has read. */
const stateOf = ({ circuits, hub, rollCalls, time }: Found): MemoryState => {
  const state = emptyState()
  state.epoch = hub.epoch
  state.born = hub.born
  state.life = hub.life
  state.sweptAt = time
  const { boxes, log, register } = state.votes
  state.votes.head = hub.head
  log.push(...rollCalls.map((one) => ({ ...one, at: time })))
  for (const [name, { heard, until }] of hub.voters) if (time < until) register.set(name, { until, heard })
  for (const [circuit, item] of circuits) {
    const { record } = item
    if (record !== undefined) {
      if (time < record.until) state.records.set(circuit, record)
      if (record.changed) state.changed.set(circuit, record)
    }
    for (const [name, box] of item.boxes) {
      const ballots = new Map(
        Array.from(box.ballots).filter(
          ([voter, { life, until }]) => time < until && liveVoter(hub, voter, time)?.life === life
        )
      )
      const ofCircuit = boxes.get(circuit) ?? new Map()
      boxes.set(circuit, ofCircuit.set(name, { epoch: box.epoch, ballots, asked: box.asked, roll: box.roll }))
    }
  }
  return state
}

/** Carries out an exchange with the rules of the memory store, and finds the changes that it made. */
export const turn = (exchange: Exchange, found: Found): TurnDone => {
  const { hub, newLife, time } = found
  const { casts, ttl, voter } = exchange
  const state = stateOf(found)
  const own = liveVoter(hub, voter, time)
  const life = own !== undefined && ttl > 0 ? own.life : newLife()
  const answer = carryOut(state, { ...exchange, notAfter: undefined }, { time, newLife, announce: () => {} })
  if (answer._tag === "Late") throw new Error("a turn has no deadline of its own")
  const circuits = new Map<string, CircuitChange>()
  for (const circuit of circuitsOf(exchange)) {
    const before = found.circuits.get(circuit)
    const record = state.records.get(circuit)
    if (record !== undefined && record.epoch > hub.epoch) {
      const changed = state.changed.get(circuit)?.epoch === record.epoch
      circuits.set(circuit, { record: { ...record, until: Math.ceil(record.until), changed }, boxes: new Map() })
      continue
    }
    const boxes = new Map<string, BoxChange>()
    for (const one of casts) {
      if (one.circuit !== circuit || (record?.epoch ?? 0) !== one.epoch) continue
      const after = state.votes.boxes.get(circuit)?.get(one.box)
      const ballot = after?.ballots.get(voter)
      const change: BoxChange = {
        epoch: one.epoch,
        voter,
        ballot: ballot && { life, until: Math.ceil(ballot.until), numbers: ballot.numbers },
        asked: after?.asked,
        roll: after?.roll
      }
      if (isChange(before, one.box, change)) boxes.set(one.box, change)
    }
    if (boxes.size > 0) circuits.set(circuit, { record: undefined, boxes })
  }
  const lives = state.votes.register.get(voter)
  return {
    answer,
    voter:
      ttl > 0 && lives !== undefined
        ? { life, text: voterText({ life, until: Math.ceil(lives.until), heard: lives.heard }) }
        : undefined,
    epoch: state.epoch,
    pending: {
      version: hub.version + 1,
      time,
      circuits,
      rollCalls: answer.head === hub.head ? [] : state.votes.log.filter(({ seq }) => seq > hub.head).map(withoutTime)
    }
  }
}

const withoutTime = ({ at: _, ...rollCall }: RollCall & { readonly at: number }): RollCall => rollCall

/** Whether a cast changes its box. A cast that only reads the tally changes nothing. */
const isChange = (
  item: CircuitItem | undefined,
  name: string,
  { asked, ballot, epoch, roll, voter }: BoxChange
): boolean => {
  const box = item?.boxes.get(name)
  if (ballot !== undefined) return true
  if (box === undefined || box.epoch !== epoch) return false
  return box.ballots.has(voter) || box.asked !== asked || String(rollTuple(box.roll)) !== String(rollTuple(roll))
}
