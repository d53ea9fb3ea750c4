import type { Library } from "../library.ts"

/** No library at all. */
export const library: Library = { name: "bare async function", protect: (fn) => fn }
