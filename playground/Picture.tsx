/** Draws the chart of the simulator as DOM nodes. The browser never parses the texts of the chart as HTML. */
import { h, type VNode } from "preact"
import { memo } from "preact/compat"
import { useLayoutEffect, useRef, useState } from "preact/hooks"
import { css, draw } from "../src/simulator/chart.ts"
import { chartOf } from "../src/simulator/serverPicture.ts"
import type { Shape } from "../src/simulator/shapes.ts"
import { captionOf, nameOf } from "./names.ts"
import { ready, scenarioOf } from "./scenarios.ts"
import { millis } from "./settings.ts"
import { serverOf } from "./simulation.ts"
import type { Played } from "./simulations.ts"

// The content security policy forbids inline styles, but a script may add a style sheet.
const colours = new CSSStyleSheet()
colours.replaceSync(css())
document.adoptedStyleSheets = [...document.adoptedStyleSheets, colours]

const toNode = (shape: Shape): VNode | string =>
  typeof shape === "string" ? shape : h(shape.tag, shape.attributes, ...shape.children.map(toNode))

const about = ({ settings: { policies, world } }: Played): string => {
  const [first] = policies
  const slow = policies.every(({ timeout }) => timeout === first?.timeout)
    ? millis((first?.timeout ?? 0) / 4)
    : "a quarter of the timeout"
  const servers = world.replicas === 1 ? "the server" : `${world.replicas} servers`
  const callers = world.processes === 1 ? "One process calls" : `${world.processes} processes call`
  return `${callers} ${servers}, ${world.rate} times a second in total. An answer after ${slow} is slow. The strips below the charts show the states of the circuits.`
}

const titleOf = ({ settings: { world } }: Played): string => {
  const name = scenarioOf(world)
  return name === undefined ? "The same calls under each policy" : ready[name].title
}

const chart = (played: Played, width: number) => {
  const { policies, world } = played.settings
  const scenario = { title: titleOf(played), server: serverOf(world) }
  const { rows, ...rest } = chartOf(scenario, about(played), played.reports)
  return draw({
    ...rest,
    width,
    rows: rows.map((row, i) => {
      const [policy, report] = [policies[i], played.reports[i]]
      if (policy === undefined || report === undefined) return row
      return { ...row, name: nameOf(policy, i), caption: captionOf(report) }
    })
  })
}

const useWidth = () => {
  const place = useRef<HTMLDivElement>(null)
  const [width, set] = useState(0)
  useLayoutEffect(() => {
    const { current } = place
    if (current === null) return
    const measure = () => set(Math.max(280, Math.floor(current.clientWidth)))
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(current)
    return () => observer.disconnect()
  }, [])
  return { place, width }
}

export const Picture = memo(
  ({ drawn, played }: { readonly played: Played | undefined; readonly drawn: (played: Played) => void }) => {
    const { place, width } = useWidth()
    useLayoutEffect(() => {
      if (played !== undefined) drawn(played)
    }, [played, drawn])
    return (
      <div class={played !== undefined && played.reports.length > 2 ? "picture tall" : "picture"} ref={place}>
        {played === undefined || width === 0 ? (
          <p class="loading">The first simulation is running.</p>
        ) : (
          toNode(chart(played, width))
        )}
      </div>
    )
  }
)
