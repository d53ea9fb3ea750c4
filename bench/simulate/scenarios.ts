/** The scenarios of the simulator with their figures and pictures, which are committed. */
import * as Effect from "effect/Effect"
import * as Simulator from "effect-fuse/Simulator"

export const results = new URL("../results/scenarios.json", import.meta.url)
export const pictureOf = (name: Simulator.ScenarioName): URL =>
  new URL(`../../docs/scenarios/${name}.svg`, import.meta.url)

/** The picture of the README: three protections of this scenario. */
export const briefPicture = new URL("../../docs/brownout.svg", import.meta.url)
const briefScenario: Simulator.ScenarioName = "brownout"
const briefProtections = ["no protection", "breaker", "breaker with limit"]

const figureNames = [
  "goodput",
  "share",
  "shareAfter",
  "sent",
  "falseRejections",
  "wasted",
  "p99",
  "recovery",
  "fairness"
] as const satisfies ReadonlyArray<keyof Simulator.PlayReport>

export interface PlayedScenario {
  readonly title: string
  /** The figures of each protection. `null` for what did not happen. */
  readonly figures: Readonly<Record<string, Readonly<Record<string, number | null>>>>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
  readonly svg: string
  /** The picture of the README, if it shows this scenario. */
  readonly brief: string | undefined
}

const rounded = (value: number | undefined): number | null =>
  value === undefined || value === Infinity ? null : Number(value.toPrecision(4))

export const playScenario = async (name: Simulator.ScenarioName): Promise<PlayedScenario> => {
  const scenario = Simulator.scenario(name)
  const reports = await Effect.runPromise(Simulator.compare(scenario))
  const figures = reports.map((report) => [
    report.policy,
    Object.fromEntries(figureNames.map((figure) => [figure, rounded(report[figure])]))
  ])
  const draw = (shown: typeof reports) => `${Simulator.toPlaySvg(scenario, shown)}\n`
  return {
    title: scenario.title,
    figures: Object.fromEntries(figures),
    rows: Simulator.toPlayRows(reports),
    svg: draw(reports),
    brief: name === briefScenario ? draw(reports.filter(({ policy }) => briefProtections.includes(policy))) : undefined
  }
}
