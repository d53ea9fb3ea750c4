import { useEffect, useMemo, useState } from "preact/hooks"
import { Copy } from "./Copy.tsx"
import { decode, encode } from "./link.ts"
import { Picture } from "./Picture.tsx"
import { PolicyPanel } from "./PolicyPanel.tsx"
import { Differences, Figures } from "./Summary.tsx"
import { withScenario } from "./scenarios.ts"
import { initial, mostPolicies, type Policy, type Settings, usualPolicy } from "./settings.ts"
import { type Played, simulations } from "./simulations.ts"
import { ScenarioChoice, WorldPanel } from "./WorldPanel.tsx"

/** Reads the settings from the address. If the address is invalid, returns the initial settings and the problem. */
const fromAddress = (): { readonly settings: Settings; readonly problem: string | undefined } => {
  const { problem, settings } = decode(location.hash)
  return { settings: settings ?? initial, problem }
}

const linkOf = (settings: Settings): string => `${location.href.replace(/#.*$/s, "")}#${encode(settings)}`

const startWorker = (): Worker => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" })

/** Stores the time of each change. `npm run bench:playground` measures the time from a change until the browser draws the picture. */
const changedAt = new WeakMap<Settings, number>()

/** Adds an entry to the performance timeline of the browser after a redraw. */
const measureRedraw = ({ settings }: Played): void => {
  const start = changedAt.get(settings)
  if (start === undefined) return
  changedAt.delete(settings)
  requestAnimationFrame(() => performance.measure("redraw", { start, end: performance.now() }))
}

export const App = () => {
  const [{ problem, settings }, set] = useState(fromAddress)
  const [played, show] = useState<Played>()
  const [failure, fail] = useState<string>()
  const play = useMemo(
    () =>
      simulations(
        startWorker,
        (played) => {
          fail(undefined)
          show(played)
        },
        fail
      ),
    []
  )
  useEffect(() => play(settings), [play, settings])
  useEffect(() => {
    const changed = () => set(fromAddress())
    addEventListener("hashchange", changed)
    return () => removeEventListener("hashchange", changed)
  }, [])
  useEffect(() => {
    if (settings === initial) return
    // Browsers refuse to change the address many times a second.
    const timer = setTimeout(() => history.replaceState(null, "", linkOf(settings)), 400)
    return () => clearTimeout(timer)
  }, [settings])
  const change = (settings: Settings) => {
    changedAt.set(settings, performance.now())
    set({ settings, problem: undefined })
  }
  const { policies, world } = settings
  const changePolicy = (index: number, policy: Policy) =>
    change({ world, policies: policies.map((one, i) => (i === index ? policy : one)) })
  return (
    <div class="page playground">
      <header class="top">
        <span class="brand">
          <img src="./icon.svg" alt="" width="26" height="26" />
          effect-fuse
        </span>
        <span class="share">
          <Copy label="Copy a link to these settings" text={() => linkOf(settings)} />
        </span>
      </header>
      <main>
        <h1>What would your policy have done?</h1>
        <p class="lead">
          Choose what goes wrong, and compare policies on the same calls. Your browser runs the real library in virtual
          time: two minutes of traffic in a fraction of a second.
        </p>
        {problem !== undefined && (
          <p class="warning" role="alert">
            The link is invalid: {problem}. The playground shows its initial settings instead.
          </p>
        )}
        {failure !== undefined && (
          <p class="warning" role="alert">
            The simulation failed: {failure}
          </p>
        )}
        <ScenarioChoice world={world} choose={(name) => change(withScenario(settings, name))} />
        <div class="parts">
          <WorldPanel world={world} change={(world) => change({ world, policies })} />
          <div class={played?.settings === settings ? "results" : "results stale"}>
            <Picture played={played} drawn={measureRedraw} />
            {played !== undefined && <Differences played={played} />}
            <div class="policies">
              {policies.map((policy, i) => (
                <PolicyPanel
                  key={i}
                  index={i}
                  policy={policy}
                  world={world}
                  change={(policy) => changePolicy(i, policy)}
                  remove={
                    policies.length === 1
                      ? undefined
                      : () => change({ world, policies: policies.filter((_, other) => other !== i) })
                  }
                />
              ))}
            </div>
            {policies.length < mostPolicies && (
              <button
                type="button"
                class="add"
                onClick={() => change({ world, policies: [...policies, policies.at(-1) ?? usualPolicy] })}
              >
                Add a policy
              </button>
            )}
            {played !== undefined && <Figures played={played} />}
          </div>
        </div>
      </main>
    </div>
  )
}
