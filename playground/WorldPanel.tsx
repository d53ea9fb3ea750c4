/** Shows the controls for the traffic, the server and the fault. */
import type { ScenarioName } from "../src/simulator/scenarioNames.ts"
import { Control } from "./controls.tsx"
import type { Value } from "./fields.ts"
import { ready, scenarioOf } from "./scenarios.ts"
import { type World, worldFields } from "./settings.ts"

const names = Object.keys(ready) as Array<ScenarioName>

/** Labels {@link World.severity} for each fault that has a severity. */
const severityOf: Partial<Record<World["fault"], string>> = {
  outage: "Calls that fail",
  brownout: "Workers that are lost",
  gradual: "Workers that are lost in the end",
  oscillating: "Workers that are lost",
  slow: "Speed that is lost",
  quota: "Calls above the quota"
}

const capacity = ({ replicas, service, workers }: World): string => {
  const all = Math.round((replicas * workers * 1_000) / service)
  return `${replicas === 1 ? "The server" : `The ${replicas} servers`} can answer ${all.toLocaleString("en-US")} calls a second.`
}

export const ScenarioChoice = ({
  choose,
  world
}: {
  readonly world: World
  readonly choose: (name: ScenarioName) => void
}) => {
  const scenario = scenarioOf(world)
  const hint = scenario === undefined ? undefined : ready[scenario].hint
  return (
    <p class="scenario">
      <label for="scenario">Scenario</label>
      <select
        id="scenario"
        value={scenario ?? ""}
        onChange={({ currentTarget }) => choose(currentTarget.value as ScenarioName)}
      >
        {scenario === undefined && <option value="">your own</option>}
        {names.map((name) => (
          <option key={name} value={name}>
            {name}: {ready[name].title.charAt(0).toLowerCase() + ready[name].title.slice(1)}
          </option>
        ))}
      </select>
      {hint !== undefined && <span class="quiet">{hint}</span>}
    </p>
  )
}

export const WorldPanel = ({ change, world }: { readonly world: World; readonly change: (world: World) => void }) => {
  const control = (name: keyof World, label?: string) => (
    <Control
      key={name}
      field={worldFields[name]}
      value={world[name]}
      change={(value: Value) => change({ ...world, [name]: value })}
      {...(label === undefined ? {} : { label })}
    />
  )
  const severity = severityOf[world.fault]
  return (
    <section class="panel world" aria-labelledby="world">
      <h2 id="world">What happens</h2>
      <h3>Traffic</h3>
      {control("rate")}
      {control("errors")}
      <h3>Server</h3>
      {control("service")}
      {control("workers")}
      <p class="quiet">{capacity(world)}</p>
      <h3>Fault</h3>
      {control("fault")}
      {world.fault !== "none" && (
        <>
          {severity !== undefined && control("severity", severity)}
          {world.fault === "outage" && control("answer")}
          {control("at")}
          {control("lasts")}
        </>
      )}
      <details>
        <summary>More settings</summary>
        {control("processes")}
        {control("replicas")}
        {world.replicas > 1 && (
          <>
            {control("affected")}
            {control("shards")}
          </>
        )}
        {world.fault !== "none" && (
          <>
            {control("cold")}
            {control("surge")}
          </>
        )}
        {control("lengthOf")}
        {control("seed")}
      </details>
    </section>
  )
}
