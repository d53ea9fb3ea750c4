import { afterEach, beforeEach } from "vitest"
import { askedInVain, LeftOut } from "./servers.ts"

// A test that asked for a missing server fails or is skipped, even if the test itself caught the error.
beforeEach(() => askedInVain.clear())
afterEach(({ skip, task }) => {
  const errors = Array.from(askedInVain.values())
  const trouble = errors.find((error) => !(error instanceof LeftOut))
  if (trouble !== undefined) {
    // Vitest prints this error once for all tests that have it.
    if (task.result !== undefined) task.result.errors = []
    throw trouble
  }
  if (errors.length > 0)
    skip(
      errors
        .map(({ message }) => message)
        .sort()
        .join(", ")
    )
})
