import { useEffect, useRef } from "preact/hooks"
import uPlot from "uplot"
import { type CircuitDetail, samples } from "../src/dashboard/view.ts"
import { bandsOf } from "../src/dashboard/whatIf.ts"
import { clock } from "./format.ts"
import type { State } from "./model.ts"

const colour = (element: Element, name: string): string => getComputedStyle(element).getPropertyValue(name).trim()

const bandColours: Readonly<Record<State, string>> = {
  Open: "--open",
  HalfOpen: "--half",
  Isolated: "--isolated",
  Disabled: "--disabled",
  Closed: "--closed"
}

/** The padding of the frame around the plot, left and right, in pixels. */
const padding = 20

/** `14:03`, and `14:03:20` within a minute. */
const timeOfDay = (at: number): string => (at % 60 === 0 ? clock(at * 1_000).slice(0, 5) : clock(at * 1_000))

/** The states of a circuit as bands, and its calls, failures and rejections a second as lines over them. */
export const Timeline = ({
  at,
  detail,
  every
}: {
  readonly at: number
  readonly detail: CircuitDetail
  readonly every: number
}) => {
  const place = useRef<HTMLDivElement>(null)
  const shown = useRef(detail)
  const shownAt = useRef(at)
  shown.current = detail
  shownAt.current = at
  const plot = useRef<uPlot | undefined>(undefined)
  const { history } = detail.circuit
  const data = (): uPlot.AlignedData => {
    const { calls = [], failures = [], rejections = [] } = shown.current.circuit.history ?? {}
    // The whole span from the start, so that the plot does not change its scale while the first samples arrive.
    const missing = Array.from({ length: samples - calls.length }, () => null)
    const times = Array.from({ length: samples }, (_, i) => (shownAt.current - (samples - 1 - i) * every) / 1_000)
    return [times, [...missing, ...calls], [...missing, ...failures], [...missing, ...rejections]]
  }
  useEffect(() => {
    const element = place.current
    if (element === null) return
    const make = () => {
      plot.current?.destroy()
      const text = colour(element, "--quiet")
      const grid = { stroke: colour(element, "--line"), width: 1 }
      const axis = { stroke: text, grid, ticks: grid, font: "12px system-ui" }
      const series = (label: string, name: string, fill = false) => ({
        label,
        stroke: colour(element, name),
        width: 2,
        points: { show: false },
        ...(fill ? { fill: `${colour(element, name)}22` } : {}),
        value: (_: uPlot, value: number | null) => (value === null ? "–" : `${value.toFixed(1)} /s`)
      })
      const drawBands = (u: uPlot) => {
        const { max = 0, min = 0 } = u.scales["x"] as { min?: number; max?: number }
        const { circuit, transitions } = shown.current
        for (const { from, state, to } of bandsOf(transitions, circuit.state, min * 1_000, max * 1_000)) {
          if (state === "Closed") continue
          const left = u.valToPos(from / 1_000, "x", true)
          const right = u.valToPos(to / 1_000, "x", true)
          u.ctx.save()
          u.ctx.globalAlpha = 0.16
          u.ctx.fillStyle = colour(element, bandColours[state])
          u.ctx.fillRect(left, u.bbox.top, right - left, u.bbox.height)
          u.ctx.restore()
        }
      }
      plot.current = new uPlot(
        {
          width: element.clientWidth - padding,
          height: 220,
          series: [
            { label: "Time", value: (_, at) => (at === null ? "–" : clock(at * 1_000)) },
            series("Calls", "--calls", true),
            series("Failures", "--open"),
            series("Rejections", "--rejections")
          ],
          axes: [
            { ...axis, values: (_, all) => all.map(timeOfDay), space: 80 },
            { ...axis, size: 48, values: (_, all) => all.map((n) => `${n} /s`) }
          ],
          scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
          hooks: { drawClear: [drawBands] },
          legend: { live: true }
        },
        data(),
        element
      )
    }
    make()
    const resized = new ResizeObserver(() =>
      plot.current?.setSize({ width: element.clientWidth - padding, height: 220 })
    )
    resized.observe(element)
    const scheme = matchMedia("(prefers-color-scheme: dark)")
    scheme.addEventListener("change", make)
    return () => {
      scheme.removeEventListener("change", make)
      resized.disconnect()
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [])
  useEffect(() => plot.current?.setData(data()), [history, detail.transitions])
  return (
    <div
      ref={place}
      class="timeline"
      role="img"
      aria-label="Calls, failures and rejections a second, over the states"
    />
  )
}
