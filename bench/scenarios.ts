/**
 * Plays the scenarios of the simulator.
 *
 *     npm run scenarios             all of them; writes docs/scenarios/*.svg, docs/brownout.svg and bench/results/scenarios.json
 *     npm run scenarios -- herd     one of them, or several; writes their pictures and figures
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Simulator from "effect-fuse/Simulator"
import { briefPicture, type PlayedScenario, pictureOf, playScenario, results } from "./simulate/scenarios.ts"

const wanted = process.argv.slice(2)
const unknown = wanted.find((name) => !Simulator.scenarioNames.some((known) => known === name))
if (unknown !== undefined) {
  console.error(`${unknown}: expected one of ${Simulator.scenarioNames.join(", ")}`)
  process.exit(2)
}
const before: Readonly<Record<string, PlayedScenario["figures"]>> = existsSync(results)
  ? JSON.parse(readFileSync(results, "utf8"))
  : {}
mkdirSync(new URL(".", pictureOf("healthy")), { recursive: true })
const found: Record<string, PlayedScenario["figures"] | undefined> = {}
for (const name of Simulator.scenarioNames) {
  found[name] = before[name]
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const { brief, figures, rows, svg, title } = await playScenario(name)
  found[name] = figures
  writeFileSync(pictureOf(name), svg)
  if (brief !== undefined) writeFileSync(briefPicture, brief)
  console.log(
    [`\n${name}: ${title}`, Simulator.playColumns.join(" | "), ...rows.map((row) => row.join(" | "))].join("\n")
  )
}
writeFileSync(results, `${JSON.stringify(found, null, 2)}\n`)
