import { field } from "../core/fields.ts"
import { show } from "../core/printable.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"

/** Returns the metadata for the line of an event, as JSON; `null` for none. */
export type MetadataOf = (event: Transition) => string | null

export const metadataField = field<MetadataOf>("a value that JSON can hold, or a function of the event", (input) => {
  if (typeof input === "function") {
    // `undefined` means no metadata. Any other value that JSON cannot represent is a mistake.
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

/** If `metadata` throws, the event has none. Calls `complain` the first time. */
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
