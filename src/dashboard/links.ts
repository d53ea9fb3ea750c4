/** Links from the page of a circuit to other pages about it, such as its metrics. */
import { field, isRecord } from "../core/fields.ts"
import { bounded } from "./texts.ts"
import type { CircuitDetail } from "./view.ts"

/** A title, and a URL in which `{name}` and `{key}` stand for the circuit. */
export interface Link {
  readonly title: string
  readonly url: string
}

/** What a link must be, for messages. */
export const linkForm =
  "a title and an http or https URL, in whose path or query {name} and {key} stand for the circuit"

const longestTitle = 40
const longestUrl = 2_000
const mostLinks = 10

/** A name may contain half of a surrogate pair, which cannot be encoded. */
const encoded = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, "\ufffd"))

const filled = (url: string, name: string, key: string): string =>
  url.replace(/\{(name|key)\}/g, (_, which) => encoded(which === "name" ? name : key))

/** Whether the URL leads to the same server for each circuit, without a password, and has no other placeholder. */
const isSafe = (url: string): boolean => {
  const [one, other] = [URL.parse(filled(url, "a", "b")), URL.parse(filled(url, "c", "d"))]
  if (one === null || other === null || url.length > longestUrl) return false
  if (!/^https?:$/.test(one.protocol) || one.origin !== other.origin) return false
  return one.username === "" && one.password === "" && !/[{}]/.test(filled(url, "", ""))
}

/** A checked link; `undefined` if it is invalid. */
export const toLink = (title: string, url: string): Link | undefined =>
  title !== "" && title.length <= longestTitle && isSafe(url) ? { title, url } : undefined

export const linksField = field<ReadonlyArray<Link>>(
  `an object of at most ${mostLinks} links: each ${linkForm}`,
  (input) => {
    if (!isRecord(input)) return undefined
    const links = Object.entries(input).map(([title, url]) =>
      typeof url === "string" ? toLink(title, url) : undefined
    )
    const valid = links.filter((one) => one !== undefined)
    return valid.length === links.length && links.length <= mostLinks ? valid : undefined
  }
)

/** The links of one circuit. */
export const linksFor = (links: ReadonlyArray<Link>, name: string, key: string | undefined): CircuitDetail["links"] =>
  links.map(({ title, url }) => ({ title: bounded(title) ?? "", href: filled(url, name, key ?? "") }))
