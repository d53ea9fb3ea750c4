/** A link whose URL contains the name and the key of a circuit. This file imports nothing, because the flags of the command line check links. */

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

/** A name may contain half of a surrogate pair, which cannot be encoded. */
const encoded = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, "\ufffd"))

/** The URL of a link for one circuit. */
export const filled = (url: string, name: string, key: string): string =>
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
