import type { ComponentChildren } from "preact"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { duration } from "../src/dashboard/duration.ts"
import type { ActionRequest, ActionResponse, CircuitDetail, CircuitView, PageView } from "../src/dashboard/view.ts"
import type { Connected } from "./connection.ts"
import { clock, count } from "./format.ts"
import { useGrowing } from "./growing.ts"
import { LazyCircuit, loadCircuit } from "./LazyCircuit.tsx"
import { type Choice, names, type State, states, tally, troubles } from "./model.ts"
import { Names } from "./Names.tsx"
import { addressOf, StateMark, words } from "./parts.tsx"
import { type Asked, Steer } from "./Steer.tsx"
import { Strip } from "./Strip.tsx"
import { type Steering, Troubles } from "./Troubles.tsx"

export interface Server {
  readonly load: (circuit: CircuitView) => Promise<CircuitDetail | { readonly error: string }>
  readonly send: (request: ActionRequest) => Promise<ActionResponse>
}

const useAddress = (): string => {
  const [address, set] = useState(location.hash)
  useEffect(() => {
    const changed = () => set(location.hash)
    addEventListener("hashchange", changed)
    return () => removeEventListener("hashchange", changed)
  }, [])
  return address
}

/** Shows whether the data on the screen is live. */
const Health = ({ lostAt, view }: { readonly lostAt: number | undefined; readonly view: PageView }) => {
  const { problem } = view.source
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1_000)
    return () => clearInterval(timer)
  }, [])
  if (lostAt !== undefined) {
    return (
      <p class="health lost" role="alert">
        No connection for {duration(Date.now() - lostAt)}. What you see is from {clock(view.at)}.
      </p>
    )
  }
  if (problem !== undefined) {
    return (
      <p class="health lost" role="alert">
        The store has not answered since {clock(problem.since)}: {problem.message}. What you see is older. Each process
        decides by itself.
      </p>
    )
  }
  return (
    <p class="health">
      <span class="pulse" aria-hidden="true" /> Live
    </p>
  )
}

/** Draws its content in a later task. The first screen then appears sooner. */
const Later = ({ children }: { readonly children: ComponentChildren }) => (useGrowing(1, 0) === 0 ? null : children)

/** `/` begins a search, and Escape ends it, wherever the focus is. */
const useSearchKeys = (clear: () => void) => {
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (document.querySelector("dialog") !== null) return
      const { target } = event
      const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement
      if (event.key === "/" && !typing && field.current !== null) {
        event.preventDefault()
        field.current.focus()
      }
      if (event.key === "Escape") clear()
    }
    addEventListener("keydown", pressed)
    return () => removeEventListener("keydown", pressed)
  }, [])
  return field
}

export const App = ({ lostAt, server, view }: Connected & { readonly server: Server }) => {
  const address = useAddress()
  const [choice, choose] = useState<Choice>({ text: "", state: undefined, sort: "name" })
  const search = useSearchKeys(() => choose((now) => ({ ...now, text: "", state: undefined })))
  const [asked, ask] = useState<Asked | undefined>()
  const allowed = view?.rights.steer === true
  const steering: Steering = useMemo(() => ({ allowed, ask: (circuit, action) => ask({ circuit, action }) }), [allowed])
  const circuits = view?.circuits
  const down = useMemo(() => (view === undefined ? [] : troubles(view, choice)), [circuits, choice])
  const all = useMemo(() => (view === undefined ? [] : names(view, choice)), [circuits, choice])
  const counts = useMemo(() => (view === undefined ? new Map<State, number>() : tally(view)), [circuits])
  const openCount = counts.get("Open") ?? 0
  useEffect(() => {
    document.title = openCount === 0 ? "effect-fuse" : `(${openCount}) effect-fuse`
  }, [openCount])
  const hasView = view !== undefined
  useEffect(() => {
    if (!hasView) return
    const timer = setTimeout(() => loadCircuit().catch(() => undefined), 2_000)
    return () => clearTimeout(timer)
  }, [hasView])
  if (view === undefined)
    return <p class="loading">{lostAt === undefined ? "Loading…" : "The server does not answer."}</p>
  const chosen = address.startsWith("#/circuit/") ? view.circuits.find((one) => addressOf(one) === address) : undefined
  const stale = lostAt !== undefined || view.source.problem !== undefined
  return (
    <div class={stale ? "page stale" : "page"}>
      <header class="top">
        <a class="brand" href="#/">
          <img src="./icon.svg" alt="" width="24" height="24" />
          effect-fuse
        </a>
        <p class="source">
          {view.source.kind === "fleet" && count(view.processes, "process", "processes")}
          {view.reporting < view.processes && <span class="quiet">{view.reporting} report their traffic</span>}
          <span class="quiet">
            <bdi>{view.source.label}</bdi>
          </span>
        </p>
        <Health lostAt={lostAt} view={view} />
      </header>
      {address.startsWith("#/circuit/") ? (
        chosen === undefined ? (
          <main>
            <p class="more">
              This circuit is not known. <a href="#/">All circuits</a>
            </p>
          </main>
        ) : (
          <LazyCircuit
            key={chosen.id}
            circuit={chosen}
            every={view.every}
            at={view.at}
            load={server.load}
            steering={steering}
          />
        )
      ) : (
        <main>
          <h1 class="hidden">Circuits</h1>
          <div class="choice">
            <fieldset>
              <legend class="hidden">Filter by state</legend>
              {states.map((state) => (
                <button
                  key={state}
                  type="button"
                  class={`chip ${state}`}
                  aria-pressed={choice.state === state}
                  onClick={() => choose({ ...choice, state: choice.state === state ? undefined : state })}
                >
                  <StateMark state={state} />
                  <b>{(counts.get(state) ?? 0).toLocaleString("en-US")}</b> {words[state].toLowerCase()}
                </button>
              ))}
            </fieldset>
            <input
              ref={search}
              type="search"
              aria-keyshortcuts="/"
              placeholder="Search names and keys"
              aria-label="Search names and keys"
              value={choice.text}
              onInput={({ currentTarget }) => choose({ ...choice, text: currentTarget.value })}
            />
          </div>
          {choice.state !== "Closed" && <Troubles troubles={down} steering={steering} />}
          <Later>
            <Strip view={view} />
            {view.leftOut > 0 && (
              <p class="more">
                {count(view.leftOut, "more circuit")} than this page can show. The command line lists all.
              </p>
            )}
            <Names circuits={all} choice={choice} onSort={(sort) => choose({ ...choice, sort })} />
          </Later>
        </main>
      )}
      {asked !== undefined && (
        <Steer
          asked={asked}
          actor={view.rights.actor}
          processes={view.processes}
          send={server.send}
          onClose={() => ask(undefined)}
        />
      )}
    </div>
  )
}
