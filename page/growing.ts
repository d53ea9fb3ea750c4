import { useEffect, useState } from "preact/hooks"

/** How many rows are drawn in one task. The first one also draws everything around the list. */
const step = 8
const firstStep = 4

/**
 * How many of `total` rows to draw now. It grows by a few rows in each task, so that a long list does not block the page. A list that
 * was drawn once stays. `first` is the number of rows at the beginning.
 */
export const useGrowing = (total: number, first = firstStep): number => {
  const [drawn, draw] = useState(first)
  useEffect(() => {
    if (drawn >= total) return
    // The browser paints and handles input between two parts. It is a timer, because a hidden tab has no frames.
    const timer = setTimeout(() => draw(drawn + step), 0)
    return () => clearTimeout(timer)
  }, [drawn, total])
  return Math.min(drawn, total)
}
