import * as Result from "effect/Result"

/** What is wrong with the URL of a server. It never repeats the URL, because the URL may contain a password. */
export interface UrlProblem {
  readonly message: string
  readonly advice?: string
}

export const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const isFile = ({ host, protocol }: URL): boolean => host === "" && /^(sqlite|file):$/.test(protocol)

/** Whether every part of a URL can be decoded, and no part contains an @ that had to be encoded. Without `//` the URL is only a path. */
const isSound = (url: URL): boolean => {
  const { hash, password, pathname, search, username } = url
  return (
    [username, password, pathname].every((part) => decoded(part) !== undefined) &&
    (isFile(url) || ![pathname, search, hash].some((part) => part.includes("@")))
  )
}

/** Parses a URL that begins with one of the protocols. */
export const serverUrl = (
  text: string,
  protocols: ReadonlyArray<string>,
  example: string
): Result.Result<URL, UrlProblem> => {
  const expected = `expected a URL such as ${example}`
  const url = URL.parse(text)
  if (url === null) return Result.fail({ message: `${expected}, got a text that is not a URL` })
  // A slash in a password ends the host: the rest of the password would become the path, and be printed.
  if (!isSound(url)) {
    return Result.fail({
      message: `${expected}, got a URL with a character that must be percent-encoded`,
      advice: "In a user name, a password or a path, write % as %25, / as %2F, @ as %40, ? as %3F and # as %23."
    })
  }
  return protocols.includes(url.protocol)
    ? Result.succeed(url)
    : Result.fail({ message: `${expected}, got a URL that begins with ${url.protocol}` })
}
