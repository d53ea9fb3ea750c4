/** Receives the whole view from the server, then its changes. */
import type { Change, PageView } from "../src/dashboard/view.ts"
import { follow } from "./clock.ts"
import { apply } from "./model.ts"

export interface Connected {
  readonly view: PageView | undefined
  /** When the last message arrived, by the clock of the browser; `undefined` while the connection works. */
  readonly lostAt: number | undefined
}

/** Without a message for this long, the connection is lost: the server sends one at least every 5 seconds. */
const silentMillis = 12_000

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
  const report = () => {
    if (waiting) return
    waiting = true
    // Several messages in one frame are drawn once.
    requestAnimationFrame(() => {
      waiting = false
      tell({ view, lostAt })
    })
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
  const open = () => {
    source = new EventSource(url)
    source.addEventListener("view", ({ data }) => {
      view = JSON.parse(data) as PageView
      heard(view.at)
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
