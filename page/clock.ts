import { useEffect, useState } from "preact/hooks"

const watching = new Set<(now: number) => void>()
let timer: ReturnType<typeof setInterval> | undefined
/** How far the clock of the server is ahead of the clock of the browser, in milliseconds. */
let ahead = 0

/** Sets the server clock to `at`. */
export const follow = (at: number): void => {
  ahead = at - Date.now()
}

export const serverNow = (): number => Date.now() + ahead

/** The present time of the server, updated each second. All components share one timer. */
export const useNow = (): number => {
  const [now, set] = useState(serverNow)
  useEffect(() => {
    watching.add(set)
    timer ??= setInterval(() => {
      const now = serverNow()
      for (const tell of watching) tell(now)
    }, 1_000)
    return () => {
      watching.delete(set)
      if (watching.size > 0) return
      clearInterval(timer)
      timer = undefined
    }
  }, [])
  return now
}
