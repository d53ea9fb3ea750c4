/** What the soak prints at the end. */
import type { Check } from "./checks/check.ts"
import type { Happened } from "./drive.ts"
import type { History } from "./history.ts"

const count = (keys: ReadonlyArray<string>): string => {
  const counts = new Map<string, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return [...counts]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, n]) => `${key} ${n}`)
    .join(", ")
}

const nameOf = ({ fault }: Happened): string => {
  if (fault.kind !== "dependency") return fault.kind
  return fault.who === "all" ? `dependency ${fault.mood}` : `bad node ${fault.mood}`
}

const line = (label: string, text: string): string => `${label.padEnd(13)}${text}`

export const table = (history: History): string => {
  const { happened, lives, records } = history
  const calls = lives.flatMap(({ of }) => of("call"))
  const rejected = calls.filter(({ rejection }) => rejection !== undefined)
  const moves = lives.flatMap(({ of }) => of("move"))
  const probes = calls.filter(({ state }) => state === "HalfOpen")
  return [
    line("calls", `${calls.length} in ${lives.length} lives of processes, ${probes.length} of them probes`),
    line("rejections", `${rejected.length} (${count(rejected.map(({ rejection }) => rejection?.reason ?? ""))})`),
    line("transitions", count(moves.map(({ event }) => `${event.from}->${event.to} ${event.scope}`))),
    line("records", count(records.map(({ state }) => state._tag))),
    line("faults", `${happened.length} (${count(happened.map(nameOf))})`)
  ].join("\n")
}

const examples = 3

export const verdict = ({ name }: Check, found: ReadonlyArray<string>): string =>
  found.length === 0
    ? `ok      ${name}`
    : [`FAILED  ${name}: ${found.length} times`, ...found.slice(0, examples).map((text) => `      ${text}`)].join("\n")
