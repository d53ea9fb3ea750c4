import { field } from "../core/fields.ts"
import { show } from "../core/printable.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"

/** What is written with the line of an event, as JSON. */
export type MetadataOf = (event: Transition) => string | null

export const metadataField = field<MetadataOf>("a value that JSON can hold, or a function of the event", (input) => {
  if (typeof input === "function") {
    // `undefined` is nothing to write; what JSON has no text for is a mistake.
    return (event) => {
      const answer: unknown = input(event)
      const text = answer === undefined ? null : JSON.stringify(answer)
      if (text === undefined) throw new TypeError(`JSON cannot hold ${show(answer)}`)
      return text
    }
  }
  try {
    const text = JSON.stringify(input)
    return text === undefined ? undefined : () => text
  } catch {
    return undefined
  }
})

/** Loses no event over its metadata, and complains once. */
export const harmless = (metadata: MetadataOf, complain: (cause: unknown) => void): MetadataOf => {
  let complained = false
  return (event) => {
    try {
      return metadata(event)
    } catch (cause) {
      if (!complained) complain(cause)
      complained = true
      return null
    }
  }
}
