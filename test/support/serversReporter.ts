import type { Reporter, TestModule } from "vitest/node"

/** Prints at the end of a run how many tests were left out because they need a server. */
export const serversReporter: Reporter = {
  onTestRunEnd: (modules: ReadonlyArray<TestModule>) => {
    const counts = new Map<string, number>()
    const files = new Set<string>()
    for (const module of modules)
      for (const test of module.children.allTests("skipped")) {
        const result = test.result()
        const note = result.state === "skipped" ? (result.note ?? "") : ""
        if (!note.startsWith("needs ")) continue
        counts.set(note, (counts.get(note) ?? 0) + 1)
        files.add(module.moduleId)
      }
    if (counts.size === 0) return
    const total = Array.from(counts.values()).reduce((sum, count) => sum + count, 0)
    const rows = Array.from(counts, ([note, count]) => `${String(count).padStart(6)} ${note}`).sort()
    process.stdout.write(
      `SERVERS=none: ${total} tests in ${files.size} files were left out. Run npm test without it for all tests.\n${rows.join("\n")}\n`
    )
  }
}
