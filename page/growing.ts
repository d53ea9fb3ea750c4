import { useEffect, useState } from "preact/hooks"

const step = 8
/** The first task draws fewer rows, because it also draws everything around the list. */
const firstStep = 4

/**
 * Returns how many of `total` rows to draw now. The number begins at `first` and grows by a few rows in each task, so a long list does not
 * block the page. The number does not shrink while the page shows the list.
 */
export const useGrowing = (total: number, first = firstStep): number => {
  const [drawn, draw] = useState(first)
  useEffect(() => {
    if (drawn >= total) return
    // Between two tasks, the browser paints and handles input. A hidden tab has no frames, so a timer starts each task.
    const timer = setTimeout(() => draw(drawn + step), 0)
    return () => clearTimeout(timer)
  }, [drawn, total])
  return Math.min(drawn, total)
}
