/** Exhaustive exploration: every state that a world can reach, breadth first, so that what is found wrong is shown in few steps. */

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
  /** What was broken first, and the steps that lead there. */
  readonly broken: { readonly what: string; readonly trace: ReadonlyArray<string> } | undefined
}

interface Visited {
  readonly from: number
  readonly label: string
  readonly depth: number
}

/** Visits every state; ends at the first step that breaks something. Throws if there are more states than `most`. */
export const explore = <State>({ initial, key, steps }: World<State>, most: number): Explored => {
  const began = performance.now()
  const known = new Set<string>()
  const visited: Array<Visited> = []
  const facts: Record<string, number> = {}
  let count = 0
  let deepest = 0
  let frontier: Array<readonly [state: State, place: number]> = []
  const add = (state: State, from: number, label: string, depth: number, to: typeof frontier): void => {
    // A state takes a kilobyte as text, and there are many.
    const text = hash("sha1", key(state), "base64")
    if (known.has(text)) return
    if (known.size >= most) throw new Error(`there are more than ${most} states`)
    known.add(text)
    visited.push({ from, label, depth })
    deepest = Math.max(deepest, depth)
    to.push([state, visited.length - 1])
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
    const labels: Array<string> = []
    for (let at = visited[place]; at !== undefined; at = visited[at.from]) labels.unshift(at.label)
    return labels
  }
  for (const [i, state] of initial.entries()) add(state, -1, `world ${i}`, 0, frontier)
  while (frontier.length > 0) {
    const next: typeof frontier = []
    for (const [state, place] of frontier) {
      for (const { broken, fact, label, next: state2 } of steps(state)) {
        count++
        if (fact !== undefined) facts[fact] = (facts[fact] ?? 0) + 1
        if (broken !== undefined) return done({ what: broken, trace: [...trace(place), label] })
        add(state2, place, label, (visited[place]?.depth ?? 0) + 1, next)
      }
    }
    frontier = next
  }
  return done(undefined)
}
