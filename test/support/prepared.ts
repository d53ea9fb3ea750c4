import { beforeAll, beforeEach } from "vitest"
import { LeftOut } from "./servers.ts"

/** Runs `prepare` before the tests of a file. If `prepare` needs a server that this run leaves out, it skips the tests. */
export const prepared = (prepare: () => Promise<void>, timeout: number): void => {
  let leftOut: LeftOut | undefined
  beforeAll(async () => {
    try {
      await prepare()
    } catch (error) {
      if (!(error instanceof LeftOut)) throw error
      leftOut = error
    }
  }, timeout)
  beforeEach(({ skip }) => {
    if (leftOut !== undefined) skip(leftOut.message)
  })
}
