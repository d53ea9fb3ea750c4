import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { assert, describe, expect, it } from "@effect/vitest"
import { folderOf, importsOf, publicModules, resolved, root, rootFolders, sources } from "./support/sources.ts"

describe("the public surface", () => {
  it("has each public module of the first folders as a namespace of the root, but for those with a path of their own", () => {
    const index = sources.find(({ name }) => name === "index")?.text ?? ""
    const namespaces = Array.from(index.matchAll(/export \* as (\w+) from "\.\/([\w/]+)\.ts"/g), ([, name, file]) => [
      name,
      file
    ])
    const inRoot = publicModules.filter(
      ({ name }) =>
        rootFolders.includes(folderOf(name)) &&
        !["core/index", "core/Circuit", "core/Fleet", "core/Window", "store/QuorumStore"].includes(name)
    )
    assert.deepStrictEqual(namespaces.sort(), inRoot.map(({ name }) => [basename(name), name]).sort())
  })

  it.each(publicModules)("$name and its exports are documented", ({ name, text }) => {
    assert.match(text, /^\/\*\*\n \* [^\n]+\n/, `${name} begins with what it is for`)
    const lines = text.split("\n")
    lines.forEach((line, index) => {
      if (!/^export (const|class|interface|type|function) \w/.test(line)) return
      const above = lines.slice(0, index).join("\n")
      const comment = above.slice(above.lastIndexOf("/**"))
      assert.match(comment, /\*\/\s*$/, `${name}: ${line}`)
      assert.match(comment, /@category /, `${name}: ${line}`)
    })
  })

  // A change of the surface shows in review as a change of that file; `npx vitest run publicSurface -u` writes it.
  it("equals test/public-surface.txt", async () => {
    const out = mkdtempSync(join(tmpdir(), "surface-"))
    try {
      const tsc = join(root, "node_modules/typescript/bin/tsc")
      const args = [
        "-p",
        "tsconfig.build.json",
        "--outDir",
        out,
        "--emitDeclarationOnly",
        "--declarationMap",
        "false",
        "--removeComments"
      ]
      execFileSync(process.execPath, [tsc, ...args], { cwd: root })
      // Types that public modules export from a private one belong to the surface, too.
      const surface = [
        ...publicModules,
        { name: "policy/policy" },
        { name: "engine/inspection" },
        { name: "shapes/byHand" },
        { name: "rpc/unavailable" }
      ]
        .map(({ name }) => `// ${name}\n\n${readFileSync(join(out, `${name}.d.ts`), "utf8")}`)
        .sort()
        .join("\n")
      await expect(surface).toMatchFileSnapshot("public-surface.txt")
      // The declarations of `promise`, and all that they import, import nothing from Effect.
      const imported = new Set(["promise/index"])
      for (const file of imported) {
        for (const one of importsOf(readFileSync(join(out, `${file}.d.ts`), "utf8"))) {
          assert.match(one, /^\./, `${file}.d.ts imports ${one}`)
          imported.add(resolved(file, one))
        }
      }
      assert.include([...imported], "promise/types")
    } finally {
      rmSync(out, { recursive: true, force: true })
    }
  })
})
