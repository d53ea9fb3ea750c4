/** Checks and fills links to other pages about a circuit. This file imports nothing, so the flags of the command line load fast. */

/** In `url`, `{name}` and `{key}` stand for the name and the key of the circuit. */
export interface Link {
  readonly title: string
  readonly url: string
}

/** Describes a valid link, for messages. */
export const linkForm = "a title and an http or https URL, with {name} and {key} only in its path, query or fragment"

const longestTitle = 40
const longestUrl = 2_000

/** Encodes a text for a URL. `encodeURIComponent` throws for half of a surrogate pair, so this function first replaces such a half. */
const encoded = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, "\ufffd"))

export const filled = (url: string, name: string, key: string): string =>
  url.replace(/\{(name|key)\}/g, (_, which) => encoded(which === "name" ? name : key))

/** Checks that the URL leads to the same server for each circuit, and contains neither credentials nor other placeholders. */
const isSafe = (url: string): boolean => {
  const [one, other] = [URL.parse(filled(url, "a", "b")), URL.parse(filled(url, "c", "d"))]
  if (one === null || other === null || url.length > longestUrl) return false
  if (!/^https?:$/.test(one.protocol) || one.origin !== other.origin) return false
  return one.username === "" && one.password === "" && !/[{}]/.test(filled(url, "", ""))
}

/** A checked link; `undefined` if it is invalid. */
export const toLink = (title: string, url: string): Link | undefined =>
  title !== "" && title.length <= longestTitle && isSafe(url) ? { title, url } : undefined
