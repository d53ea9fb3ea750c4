import { useEffect, useState } from "preact/hooks"

/** How many rows a task draws. */
const step = 8
/** How many rows the first task draws. It also draws everything around the list. */
const firstStep = 4

/**
 * Returns how many of `total` rows to draw now. The number begins at `first` and grows by a few rows in each task, so that a long list does
 * not block the page. The number never shrinks while the list is shown.
 */
export const useGrowing = (total: number, first = firstStep): number => {
  const [drawn, draw] = useState(first)
  useEffect(() => {
    if (drawn >= total) return
    // Between two tasks, the browser paints and handles input. This uses a timer because a hidden tab has no frames.
    const timer = setTimeout(() => draw(drawn + step), 0)
    return () => clearTimeout(timer)
  }, [drawn, total])
  return Math.min(drawn, total)
}
