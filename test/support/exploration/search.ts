/** Exhaustive exploration of every state that a world can reach. It is breadth first, so a violation is shown in as few steps as possible. */

import { hash } from "node:crypto"

export interface World<State> {
  readonly initial: ReadonlyArray<State>
  /** Every step that is possible in a state. */
  readonly steps: (state: State) => ReadonlyArray<Step<State>>
  /** A text that is the same for two states only if all that can follow is the same. */
  readonly key: (state: State) => string
}

export interface Step<State> {
  readonly label: string
  readonly next: State
  /** What the step breaks. */
  readonly broken?: string | undefined
  /** A fact worth counting, for example that the circuit opened. */
  readonly fact?: string | undefined
}

export interface Explored {
  readonly states: number
  readonly steps: number
  readonly deepest: number
  readonly millis: number
  /** How many steps had each fact. */
  readonly facts: Readonly<Record<string, number>>
  /** The first violation, and the steps that lead to it. */
  readonly broken: { readonly what: string; readonly trace: ReadonlyArray<string> } | undefined
}

/** Visits every state; ends at the first step that breaks something. Throws if there are more states than `most`. */
export const explore = <State>({ initial, key, steps }: World<State>, most: number): Explored => {
  const began = performance.now()
  const known = new Set<string>()
  /** Of each state: the state before it, and which of its steps led here. */
  const from: Array<number> = []
  const by: Array<number> = []
  const facts: Record<string, number> = {}
  let count = 0
  let deepest = 0
  let frontier: Array<State> = []
  let next: Array<State> = []
  const add = (state: State, before: number, step: number): void => {
    // 72 bits tell millions of states apart, and take a tenth of the memory of their texts.
    const text = hash("sha1", key(state), "base64").slice(0, 12)
    if (known.has(text)) return
    if (known.size >= most) throw new Error(`there are more than ${most} states`)
    known.add(text)
    from.push(before)
    by.push(step)
    next.push(state)
  }
  const done = (broken: Explored["broken"]): Explored => ({
    states: known.size,
    steps: count,
    deepest,
    millis: Math.round(performance.now() - began),
    facts,
    broken
  })
  const trace = (place: number): ReadonlyArray<string> => {
    const path: Array<number> = []
    let at = place
    for (; (from[at] ?? -1) >= 0; at = from[at] ?? -1) path.unshift(by[at] ?? 0)
    let state = initial[by[at] ?? 0]
    return [
      `world ${by[at]}`,
      ...path.map((step) => {
        const taken = state === undefined ? undefined : steps(state)[step]
        state = taken?.next
        return taken?.label ?? "?"
      })
    ]
  }
  for (const [i, state] of initial.entries()) add(state, -1, i)
  let place = 0
  while (next.length > 0) {
    frontier = next
    next = []
    for (const state of frontier) {
      for (const [i, { broken, fact, label, next: after }] of steps(state).entries()) {
        count++
        if (fact !== undefined) facts[fact] = (facts[fact] ?? 0) + 1
        if (broken !== undefined) return done({ what: broken, trace: [...trace(place), label] })
        add(after, place, i)
      }
      place++
    }
    if (next.length > 0) deepest++
  }
  return done(undefined)
}
