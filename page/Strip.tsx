import { printable } from "../src/core/printable.ts"
import { duration } from "../src/dashboard/duration.ts"
import { hourMillis, type PageView, type TransitionView } from "../src/dashboard/view.ts"
import { useNow } from "./clock.ts"
import { clock, count } from "./format.ts"
import { words } from "./parts.tsx"

const minutes = 60

const title = (one: TransitionView): string =>
  `${clock(one.at)} ${printable(one.name)}${one.key === undefined ? "" : ` [${printable(one.key)}]`}: ${words[one.from]} to ${words[one.to]}`

/** The transitions of the last hour: one column for each minute, one square for each transition, at most six. */
export const Strip = ({ view }: { readonly view: PageView }) => {
  const now = useNow()
  const columns: Array<Array<TransitionView>> = Array.from({ length: minutes }, () => [])
  for (const one of view.transitions) {
    const ago = Math.floor((now - one.at) / 60_000)
    if (ago >= 0 && ago < minutes) columns[minutes - 1 - ago]?.push(one)
  }
  const opened = view.transitions.filter(({ at, to }) => to === "Open" && now - at < hourMillis).length
  return (
    <section class="strip" aria-label="Transitions of the last hour">
      <header>
        <h2>Last hour</h2>
        <p>
          {opened === 0
            ? "No circuit has opened."
            : `${count(opened, "opening")}, ${count(view.transitions.length, "transition")}.`}
        </p>
      </header>
      <svg
        viewBox="0 0 600 52"
        preserveAspectRatio="none"
        role="img"
        aria-label={`${count(view.transitions.length, "transition")} in the last hour`}
      >
        {columns.map((column, i) =>
          column.slice(-6).map((one, j) => (
            <rect key={`${one.at} ${j}`} class={one.to} x={i * 10 + 1} y={43 - j * 8.5} width="8" height="7" rx="1.5">
              <title>{title(one)}</title>
            </rect>
          ))
        )}
        <path class="axis" d="M0 51.5h600" />
      </svg>
      <div class="ticks" aria-hidden="true">
        {[60, 45, 30, 15].map((ago) => (
          <span key={ago}>
            {duration(ago * 60_000)
              .replace(" 0 s", "")
              .replace(" 0 min", "")}{" "}
            ago
          </span>
        ))}
        <span>now</span>
      </div>
    </section>
  )
}
