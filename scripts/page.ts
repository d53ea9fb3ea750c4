/** The built page and the built playground, for programs that run from the sources. */
import { execFile } from "node:child_process"
import { existsSync, readdirSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../", import.meta.url))

export const playgroundFolder = `${root}playground/dist`

const changedAt = (path: string): number => statSync(path).mtimeMs

/** Returns when a file in these files and folders last changed. Ignores built files. */
const sourceAt = (...paths: ReadonlyArray<string>): number => {
  const files = paths.flatMap((path) =>
    statSync(`${root}${path}`).isFile()
      ? [path]
      : readdirSync(`${root}${path}`, { recursive: true, encoding: "utf8" })
          .filter((file) => !/^dist(\/|$)/.test(file))
          .map((file) => `${path}/${file}`)
  )
  return Math.max(...files.map((file) => changedAt(`${root}${file}`)))
}

/** Builds a folder with Vite if the file `built` is missing or older than the sources. */
const ensure = async (folder: string, built: string, ...sources: ReadonlyArray<string>): Promise<void> => {
  if (existsSync(built) && changedAt(built) >= sourceAt(folder, "package-lock.json", ...sources)) return
  await promisify(execFile)(
    process.execPath,
    ["node_modules/vite/bin/vite.js", "build", folder, "--logLevel", "warn"],
    {
      cwd: root
    }
  )
}

/** Builds the page if it is missing or older than its sources. The page imports code from these folders of the library. */
export const ensurePage = (): Promise<void> =>
  ensure(
    "page",
    `${root}dist/dashboard/page/index.html`,
    ...["core", "dashboard", "shapes", "simulator"].map((folder) => `src/${folder}`)
  )

/** Builds the playground if it is missing or older than its sources. The library is one of these sources. */
export const ensurePlayground = (): Promise<void> =>
  ensure("playground", `${playgroundFolder}/index.html`, "src", "page/base.css")
