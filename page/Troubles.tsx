import { memo } from "preact/compat"
import type { CircuitView } from "../src/dashboard/view.ts"
import { count, percent, rate } from "./format.ts"
import { failureShare } from "./model.ts"
import { addressOf, Name, Since, Sparkline, StateBadge, Until } from "./parts.tsx"

export interface Steering {
  readonly allowed: boolean
  readonly ask: (circuit: CircuitView, action: "isolate" | "disable" | "release" | "open" | "close" | "reset") => void
}

const agreedBy = ({ actor, agreed, scope }: CircuitView): string => {
  if (actor !== undefined) return `by ${actor}`
  if (agreed !== undefined) return `${agreed.failing} of ${count(agreed.of, "process", "processes")} agreed`
  return scope === "fleet" ? "decided by the fleet" : "decided by one process"
}

const Next = ({ circuit: { state, until } }: { readonly circuit: CircuitView }) => {
  if (state === "HalfOpen") return <>probing now</>
  if (until === undefined) return <>until it is released</>
  if (state === "Open") return <Until at={until} over="a probe is due" />
  return <Until at={until} over="has ended" />
}

/** One circuit that is not closed. */
const Trouble = memo(({ circuit, steering }: { readonly circuit: CircuitView; readonly steering: Steering }) => {
  const { keys, keysDown, state, traffic } = circuit
  const began = circuit.downSince ?? circuit.since
  const forced = state === "Isolated" || state === "Disabled"
  return (
    <li class={`trouble ${state}`}>
      <div class="what">
        <StateBadge state={state} />
        <a href={addressOf(circuit)}>
          <Name circuit={circuit} />
        </a>
        {circuit.key === undefined && keys > 0 && (
          <span class="keys">
            {keysDown > 0 && keysDown < keys ? `${keysDown} of ${count(keys, "key")}` : `all ${count(keys, "key")}`}
          </span>
        )}
      </div>
      <p class="why">{circuit.why ?? "The reason is not known."}</p>
      <dl>
        <div>
          <dt>{forced ? "Since" : "Down for"}</dt>
          <dd class="big">{began === undefined ? "–" : <Since at={began} />}</dd>
        </div>
        <div>
          <dt>{forced ? "Ends" : "Next try"}</dt>
          <dd>
            <Next circuit={circuit} />
          </dd>
        </div>
        <div>
          <dt>Decided</dt>
          <dd>{agreedBy(circuit)}</dd>
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
      <div class="tail">
        <Sparkline history={circuit.history} />
        {steering.allowed && (
          <div class="buttons">
            {forced ? (
              <button type="button" onClick={() => steering.ask(circuit, "release")}>
                Release
              </button>
            ) : (
              <>
                <button type="button" onClick={() => steering.ask(circuit, "close")}>
                  Close
                </button>
                <button type="button" onClick={() => steering.ask(circuit, "isolate")}>
                  Isolate
                </button>
              </>
            )}
          </div>
        )}
      </div>
    </li>
  )
})

export const Troubles = ({
  circuits,
  steering
}: {
  readonly circuits: ReadonlyArray<CircuitView>
  readonly steering: Steering
}) => (
  <section aria-label="Circuits that are not closed">
    <h2>Not closed</h2>
    {circuits.length === 0 ? (
      <p class="allwell">Every circuit is closed.</p>
    ) : (
      <ul class="troubles">
        {circuits.slice(0, 50).map((circuit) => (
          <Trouble key={circuit.id} circuit={circuit} steering={steering} />
        ))}
      </ul>
    )}
    {circuits.length > 50 && (
      <p class="more">and {count(circuits.length - 50, "more circuit")}. Search to find them.</p>
    )}
  </section>
)
