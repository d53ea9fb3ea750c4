import { beforeAll, beforeEach } from "vitest"
import { LeftOut } from "./servers.ts"

/** Prepares what all tests of a file share. If that needs a server that this run leaves out, its tests are left out. */
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
