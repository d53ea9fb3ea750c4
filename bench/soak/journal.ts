/** Where a worker writes its lines: to its standard output, which is a file, so that not even SIGKILL loses one. */
import { writeSync } from "node:fs"
import type { Line } from "./lines.ts"

export const write = (line: Line): void => {
  writeSync(1, `${JSON.stringify(line)}\n`)
}
