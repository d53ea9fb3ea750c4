import { names, none, prepare } from "./servers.ts"

/** Installs servers before the first test: an installation takes longer than the limit of a test, and is announced once. */
export const setup = async (): Promise<void> => {
  if (none()) return
  try {
    await prepare(names)
  } catch (error) {
    // The tests that need no server run. Each other test fails with this text.
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n`)
  }
}
