import { names, none, prepare } from "./servers.ts"

/** Before the first test: an installation takes longer than a test may, and is announced and explained once. */
export const setup = async (): Promise<void> => {
  if (none()) return
  try {
    await prepare(names)
  } catch (error) {
    // The tests that need no server run; each of the others fails with this text.
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n`)
  }
}
