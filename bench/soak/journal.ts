/** The journal of a worker. It is the standard output, redirected to a file, so that not even SIGKILL loses a line. */
import { writeSync } from "node:fs"
import type { Line } from "./lines.ts"

export const write = (line: Line): void => {
  writeSync(1, `${JSON.stringify(line)}\n`)
}
