/** The built page, for programs that run from the sources. */
import { execFile } from "node:child_process"
import { existsSync, readdirSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../", import.meta.url))
const built = `${root}dist/dashboard/page/index.html`

const changedAt = (path: string): number => statSync(path).mtimeMs

/** The folders with the source of the page. It shares types and pure code with the library. */
const folders = ["page", "src/core", "src/dashboard", "src/shapes", "src/simulator"]

/** When a file of the page's source last changed. */
const sourceAt = (): number => {
  const files = folders.flatMap((folder) =>
    readdirSync(root + folder, { recursive: true, encoding: "utf8" }).map((file) => `${root}${folder}/${file}`)
  )
  return Math.max(...[...files, `${root}package-lock.json`].map(changedAt))
}

/** Builds the page if it is missing or older than its source. */
export const ensurePage = async (): Promise<void> => {
  if (existsSync(built) && changedAt(built) >= sourceAt()) return
  await promisify(execFile)(
    process.execPath,
    ["node_modules/vite/bin/vite.js", "build", "page", "--logLevel", "warn"],
    {
      cwd: root
    }
  )
}
