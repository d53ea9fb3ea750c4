import { afterEach, beforeEach } from "vitest"
import { askedInVain } from "./servers.ts"

// A test that asked for a server in a run without servers is left out, however it ended. The note says what it needs.
beforeEach(() => askedInVain.clear())
afterEach(({ skip }) => {
  if (askedInVain.size > 0) skip(Array.from(askedInVain).sort().join(", "))
})
