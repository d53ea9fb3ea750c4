import { type Change, limits, type RollCall } from "./SharedStore.ts"

/**
 * The text of an announcement, for stores that send texts. Its parts have one space between them:
 *
 *     R <epoch> <circuit> <body>                       a record
 *     I <epoch> <circuit> <box>                        an inquiry
 *     C <epoch> <circuit> <seq> <prev> <term> <box>    a roll call
 */
export const toText = (change: Change): string => {
  const { circuit, epoch } = change
  switch (change._tag) {
    case "Record":
      return `R ${epoch} ${circuit} ${change.body}`
    case "Inquiry":
      return `I ${epoch} ${circuit} ${change.box}`
    case "RollCall":
      return `C ${epoch} ${circuit} ${change.seq} ${change.prev} ${change.term} ${change.box}`
  }
}

/** Whether a store can give this number to a record or a roll call. */
export const isStoreNumber = (n: number): boolean => Number.isSafeInteger(n) && n >= 1

/** The change that a text announces; `undefined` for any other text, which another program may have sent. */
export const fromText = (text: string): Change | undefined => {
  const found = /^([RIC]) (\d+) (\S+) (.*)$/s.exec(text)
  if (found === null) return undefined
  const [, kind, digits, circuit = "", rest = ""] = found
  const epoch = Number(digits)
  if (!Number.isSafeInteger(epoch)) return undefined
  if (kind === "R") return epoch === 0 ? undefined : { _tag: "Record", circuit, epoch, body: rest }
  if (kind === "I") return /^\S+$/.test(rest) ? { _tag: "Inquiry", circuit, epoch, box: rest } : undefined
  const rollCall = rollCallOf(circuit, epoch, rest)
  return rollCall && { _tag: "RollCall", ...rollCall }
}

const rollCallOf = (circuit: string, epoch: number, text: string): RollCall | undefined => {
  const found = /^(\d+) (\d+) (\d+) (\S+)$/.exec(text)
  if (found === null) return undefined
  const [seq = 0, prev = 0, term = 0] = found.slice(1, 4).map(Number)
  const isSound = isStoreNumber(seq) && prev < seq && term >= 1 && term <= limits.rollCallMillis
  return isSound ? { seq, prev, circuit, epoch, box: found[4] ?? "", term } : undefined
}
