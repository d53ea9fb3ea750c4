/**
 * Keeps settings in the fragment of a URL, such as `#v=1&n=1&rate=50&fault=outage&1.kind=none`. The fragment has only values that differ from
 * the defaults. Anyone can write a link, so `decode` checks each value. Only error messages show text from a link, and they shorten the text.
 */
import { printable } from "../src/core/printable.ts"
import { expected, type Fields, fromText, toText, type Value } from "./fields.ts"
import { initial, mostPolicies, policyFields, type Settings, usualPolicy, usualWorld, worldFields } from "./settings.ts"

const version = "1"

/** `decode` rejects a fragment with more characters. All settings together need fewer characters. */
export const longest = 4_000

const changed = (
  fields: Fields,
  values: Readonly<Record<string, Value>>,
  prefix: string
): ReadonlyArray<[string, string]> =>
  Object.entries(fields).flatMap(([name, { default: usual }]): ReadonlyArray<[string, string]> => {
    const value = values[name]
    return value === undefined || value === usual ? [] : [[`${prefix}${name}`, toText(value)]]
  })

/** Writes the fragment of a link, without `#`. */
export const encode = ({ policies, world }: Settings): string =>
  new URLSearchParams([
    ["v", version],
    ["n", String(policies.length)],
    ...changed(worldFields, world, ""),
    ...policies.flatMap((policy, i) => changed(policyFields, policy, `${i + 1}.`))
  ]).toString()

export type Decoded =
  | { readonly settings: Settings; readonly problem?: undefined }
  | { readonly settings?: undefined; readonly problem: string }

const quoted = (text: string): string => `“${printable(text.length > 40 ? `${text.slice(0, 40)}…` : text)}”`

/** Reads the fragment of a link, with or without `#`. Returns the initial settings for an empty fragment. */
export const decode = (fragment: string): Decoded => {
  const text = fragment.replace(/^#/, "")
  if (text === "") return { settings: initial }
  if (text.length > longest) return { problem: `it is longer than ${longest} characters` }
  const entries = [...new URLSearchParams(text)]
  const given = new Map(entries)
  if (given.size < entries.length) return { problem: "it has a setting twice" }
  if (given.get("v") !== version) {
    return { problem: `expected version ${version}, got ${quoted(given.get("v") ?? "no version")}` }
  }
  const n = given.get("n") ?? ""
  if (!/^\d$/.test(n) || Number(n) < 1 || Number(n) > mostPolicies) {
    return { problem: `n: expected 1 to ${mostPolicies} policies, got ${quoted(n)}` }
  }
  const world: Record<string, Value> = { ...usualWorld }
  const policies = Array.from({ length: Number(n) }, (): Record<string, Value> => ({ ...usualPolicy }))
  for (const [key, value] of given) {
    if (key === "v" || key === "n") continue
    const [, number, name = ""] = /^(?:([1-9])\.)?(.*)$/s.exec(key) ?? []
    const fields: Fields = number === undefined ? worldFields : policyFields
    const target = number === undefined ? world : policies[Number(number) - 1]
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (field === undefined || target === undefined) return { problem: `there is no setting ${quoted(key)}` }
    const read = fromText(field, value)
    if (read === undefined) return { problem: `${key}: expected ${expected(field)}, got ${quoted(value)}` }
    target[name] = read
  }
  // Every field has its default, or `fromText` has checked its value.
  return { settings: { world, policies } as unknown as Settings }
}
