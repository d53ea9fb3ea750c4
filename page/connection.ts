/** First receives the whole view from the server, and then receives changes. */
import type { Change, MoreMessage, PageView, ViewMessage } from "../src/dashboard/view.ts"
import { follow } from "./clock.ts"
import { apply } from "./model.ts"

export interface Connected {
  readonly view: PageView | undefined
  /** When the last message arrived, by the clock of the browser; `undefined` while the connection works. */
  readonly lostAt: number | undefined
}

/** Without a message for this long, the connection is lost: the server sends one at least every 5 seconds. */
const silentMillis = 12_000

const frameMillis = 16

/**
 * Listens to the server. The browser reconnects by itself. It sends the id of the last event, and the server answers with the missed
 * events. Returns a function that ends the connection.
 */
export const connect = (url: string, tell: (connected: Connected) => void): (() => void) => {
  let view: PageView | undefined
  let lostAt: number | undefined
  let heardAt = Date.now()
  let source: EventSource | undefined
  let waiting = false
  let isFirst = true
  const report = () => {
    if (waiting) return
    waiting = true
    // Draws several messages at once. A timer runs even in a hidden tab, where the title still shows how many circuits are open.
    setTimeout(() => {
      waiting = false
      tell({ view, lostAt })
    }, frameMillis)
  }
  const heard = (at: number) => {
    heardAt = Date.now()
    lostAt = undefined
    follow(at)
    report()
  }
  const lost = () => {
    lostAt ??= heardAt
    report()
  }
  /** This view still lacks `missing` circuits. */
  let partial: PageView | undefined
  let missing = 0
  const received = (part: PageView, rest: number) => {
    missing = rest
    partial = rest > 0 ? part : undefined
    // The page shows the first view before the view is complete. It shows a later view only when that view is complete.
    if (rest === 0 || isFirst) view = part
    if (rest === 0) isFirst = false
    heard(part.at)
  }
  const open = () => {
    source = new EventSource(url)
    partial = undefined
    source.addEventListener("view", ({ data }) => {
      const { rest, ...part } = JSON.parse(data) as ViewMessage
      received(part, rest)
    })
    source.addEventListener("more", ({ data }) => {
      const { circuits } = JSON.parse(data) as MoreMessage
      if (partial === undefined) return
      received({ ...partial, circuits: [...partial.circuits, ...circuits] }, missing - circuits.length)
    })
    source.addEventListener("change", ({ data }) => {
      const change = JSON.parse(data) as Change
      if (view !== undefined) view = apply(view, change)
      heard(change.at)
    })
    source.addEventListener("error", () => {
      lost()
      // A browser does not try again after some answers, such as 502 of a proxy.
      if (source?.readyState === EventSource.CLOSED) setTimeout(reopen, 2_000)
    })
  }
  const reopen = () => {
    source?.close()
    open()
  }
  const watch = setInterval(() => {
    if (Date.now() - heardAt < silentMillis) return
    lost()
    heardAt = Date.now()
    reopen()
  }, 2_000)
  open()
  return () => {
    clearInterval(watch)
    source?.close()
  }
}
