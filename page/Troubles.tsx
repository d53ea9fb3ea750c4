import { memo } from "preact/compat"
import { useState } from "preact/hooks"
import type { CircuitView } from "../src/dashboard/view.ts"
import { count, percent, rate } from "./format.ts"
import { useGrowing } from "./growing.ts"
import { failureShare, type Trouble } from "./model.ts"
import { addressOf, Name, Since, Sparkline, StateBadge, StateMark, Until, words } from "./parts.tsx"

export interface Steering {
  readonly allowed: boolean
  readonly ask: (circuit: CircuitView, action: "isolate" | "disable" | "release" | "open" | "close" | "reset") => void
}

const Decided = ({ circuit: { actor, agreed, scope } }: { readonly circuit: CircuitView }) => {
  if (actor !== undefined) {
    return (
      <>
        by <bdi>{actor}</bdi>
      </>
    )
  }
  if (agreed !== undefined) return <>{`${agreed.failing} of ${count(agreed.of, "process", "processes")} agreed`}</>
  return <>{scope === "fleet" ? "by the fleet" : "by each process"}</>
}

const isForced = ({ state }: CircuitView): boolean => state === "Isolated" || state === "Disabled"

const Next = ({ circuit: { scope, state, until } }: { readonly circuit: CircuitView }) => {
  if (state === "HalfOpen") return <>probing now</>
  if (until === undefined) return <>{state === "Open" ? (scope === "local" ? "not known" : "–") : "when released"}</>
  if (state === "Open") return <Until at={until} over="probe due" />
  return <Until at={until} over="ended" />
}

const Buttons = ({ circuit, steering }: { readonly circuit: CircuitView; readonly steering: Steering }) => (
  <div class="buttons">
    {isForced(circuit) && !circuit.rolledUp ? (
      <button type="button" onClick={() => steering.ask(circuit, "release")}>
        Release
      </button>
    ) : (
      <>
        {!circuit.rolledUp && (
          <button type="button" onClick={() => steering.ask(circuit, "close")}>
            Close
          </button>
        )}
        <button type="button" onClick={() => steering.ask(circuit, "isolate")}>
          Isolate
        </button>
      </>
    )}
  </div>
)

const mostKeys = 100

interface KeysProps {
  readonly circuit: CircuitView
  readonly keys: ReadonlyArray<CircuitView>
  readonly steering: Steering
}

/** Lists the keys of a name that are not closed. Draws the list only while a user has it open. */
const Keys = (props: KeysProps) => {
  const { circuit } = props
  const [isOpen, setOpen] = useState(false)
  return (
    <details class="below" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>
        {count(circuit.keysDown, "key")} of {Math.max(circuit.keys, circuit.keysDown).toLocaleString("en-US")} not
        closed
      </summary>
      {isOpen && <KeyList {...props} />}
    </details>
  )
}

const KeyList = ({ circuit, keys, steering }: KeysProps) => {
  const drawn = useGrowing(Math.min(keys.length, mostKeys))
  return (
    <>
      <ul>
        {keys.slice(0, drawn).map((one) => (
          <li key={one.id}>
            <StateMark state={one.state} />
            <span class="hidden">{words[one.state]}: </span>
            <a href={addressOf(one)}>
              <Name circuit={one} />
            </a>
            <span class="why">
              <bdi>{one.why}</bdi>
            </span>
            {steering.allowed && <Buttons circuit={one} steering={steering} />}
          </li>
        ))}
      </ul>
      {circuit.keysDown > mostKeys && <p class="more">Search to find the others.</p>}
    </>
  )
}

/** One name that is not closed. */
const Row = memo(({ steering, trouble }: { readonly trouble: Trouble; readonly steering: Steering }) => {
  const { circuit, keys } = trouble
  const { rolledUp, state, traffic } = circuit
  const began = circuit.downSince ?? circuit.since
  return (
    <li class={`trouble ${state}`}>
      <div class="what">
        <StateBadge state={state} />
        <a href={addressOf(circuit)}>
          <Name circuit={circuit} />
        </a>
        {!rolledUp && circuit.keys > 0 && <span class="keys">all {count(circuit.keys, "key")}</span>}
      </div>
      <p class="why">
        <bdi>{circuit.why ?? "The reason is not known."}</bdi>
      </p>
      <dl>
        <div>
          <dt>{isForced(circuit) ? "Since" : "Down for"}</dt>
          <dd class="big">{began === undefined ? "–" : <Since at={began} />}</dd>
        </div>
        <div>
          <dt>{isForced(circuit) ? "Ends" : "Next try"}</dt>
          <dd>
            <Next circuit={circuit} />
          </dd>
        </div>
        <div>
          <dt>Decided</dt>
          <dd>
            <Decided circuit={circuit} />
          </dd>
        </div>
        <div>
          <dt>Rejected</dt>
          <dd>{traffic === undefined ? "–" : `${rate(traffic.rejections)} /s`}</dd>
        </div>
        <div>
          <dt>Failing</dt>
          <dd>{traffic === undefined || traffic.calls === 0 ? "–" : percent(failureShare(circuit))}</dd>
        </div>
      </dl>
      {keys.length > 0 && <Keys circuit={circuit} keys={keys} steering={steering} />}
      <div class="tail">
        <Sparkline history={circuit.history} />
        {steering.allowed && <Buttons circuit={circuit} steering={steering} />}
      </div>
    </li>
  )
})

const most = 50

export const Troubles = ({
  steering,
  troubles
}: {
  readonly troubles: ReadonlyArray<Trouble>
  readonly steering: Steering
}) => {
  const drawn = useGrowing(Math.min(troubles.length, most))
  return (
    <section aria-label="Circuits that are not closed">
      <h2>Not closed</h2>
      {troubles.length === 0 ? (
        <p class="allwell">Every circuit is closed.</p>
      ) : (
        <ul class="troubles">
          {troubles.slice(0, drawn).map((trouble) => (
            <Row key={trouble.circuit.id} trouble={trouble} steering={steering} />
          ))}
        </ul>
      )}
      {troubles.length > most && (
        <p class="more">and {count(troubles.length - most, "more name")}. Search to find them.</p>
      )}
    </section>
  )
}
