/** Reads the files of the page, once. */

import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

export interface PageFile {
  readonly type: string
  readonly bytes: Uint8Array
  /** `bytes`, compressed with gzip. */
  readonly gzip: Uint8Array
  /** Whether the name of the file changes with its content. */
  readonly immutable: boolean
}

export class PageMissing extends Data.TaggedError("PageMissing")<{ readonly message: string }> {}

const types: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml"
}

/** `npm run build` writes the page to this folder. The path is the same from `src/dashboard` and from `dist/dashboard`. */
const folder = new URL("../../dist/dashboard/page/", import.meta.url)

const zipped = async (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> =>
  new Uint8Array(
    await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer()
  )

/** Every file of the page, by its path such as `effect-fuse/index-1234.js`. */
const read = async (): Promise<ReadonlyMap<string, PageFile>> => {
  const { readdir, readFile } = await import("node:fs/promises")
  const files = new Map<string, PageFile>()
  for (const below of ["", "effect-fuse/"]) {
    for (const entry of await readdir(new URL(below, folder), { withFileTypes: true })) {
      const type = types[entry.name.slice(entry.name.lastIndexOf(".") + 1)]
      if (!entry.isFile() || type === undefined) continue
      const bytes = await readFile(new URL(below + entry.name, folder))
      files.set(below + entry.name, { type, bytes, gzip: await zipped(bytes), immutable: below !== "" })
    }
  }
  return files
}

/** All files of the page. After a failed read, the next request reads again. */
export const makeFiles = (): Effect.Effect<ReadonlyMap<string, PageFile>, PageMissing> => {
  let reading: Promise<ReadonlyMap<string, PageFile>> | undefined
  return Effect.tryPromise({
    try: () => {
      reading ??= read()
      return reading
    },
    catch: () => {
      reading = undefined
      return new PageMissing({
        message: "The files of the page are missing. In a clone of the repository: npm run build"
      })
    }
  })
}
