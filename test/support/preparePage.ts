import { ensurePage } from "../../scripts/page.ts"

/** Builds the page before the first test, if it is older than its source. */
export const setup = ensurePage
