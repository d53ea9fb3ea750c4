import { useEffect, useState } from "preact/hooks"
import { printable } from "../src/core/printable.ts"
import type { CircuitDetail, CircuitView } from "../src/dashboard/view.ts"
import { clock, rate, took } from "./format.ts"
import { Name, Since, StateBadge, StateMark, Until, words } from "./parts.tsx"
import { Timeline } from "./Timeline.tsx"
import type { Steering } from "./Troubles.tsx"
import { WhatIf } from "./WhatIf.tsx"

/** The page of one circuit. It loads the details again when the circuit changes, and every 15 seconds. */
export const Circuit = ({
  at,
  circuit,
  every,
  load,
  steering
}: {
  readonly at: number
  readonly circuit: CircuitView
  readonly every: number
  readonly load: (circuit: CircuitView) => Promise<CircuitDetail | { readonly error: string }>
  readonly steering: Steering
}) => {
  const [found, set] = useState<CircuitDetail | { readonly error: string } | undefined>()
  useEffect(() => {
    let current = true
    load(circuit).then((one) => {
      if (current) set(one)
    })
    return () => {
      current = false
    }
    // The details do not contain the traffic, so a sample does not load them again.
  }, [circuit.id, circuit.state, circuit.since, circuit.downSince, circuit.actor, Math.floor(at / 15_000)])
  const forced = circuit.state === "Isolated" || circuit.state === "Disabled"
  const { traffic } = circuit
  return (
    <main class="circuit">
      <p class="back">
        <a href="#/">All circuits</a>
      </p>
      <header>
        <h1>
          <Name circuit={circuit} />
        </h1>
        <StateBadge state={circuit.state} />
        <p class="why">
          {circuit.state === "Closed" ? "Calls run normally." : <bdi>{circuit.why ?? "The reason is not known."}</bdi>}
        </p>
      </header>
      <dl class="facts">
        {circuit.since !== undefined && (
          <div>
            <dt>In this state for</dt>
            <dd>
              <Since at={circuit.since} />
            </dd>
          </div>
        )}
        {circuit.downSince !== undefined && (
          <div>
            <dt>Down for</dt>
            <dd>
              <Since at={circuit.downSince} />
            </dd>
          </div>
        )}
        {circuit.until !== undefined && circuit.state !== "Closed" && (
          <div>
            <dt>{forced ? "Ends" : "Next try"}</dt>
            <dd>
              <Until at={circuit.until} over="due" />
            </dd>
          </div>
        )}
        {circuit.agreed !== undefined && (
          <div>
            <dt>Agreed</dt>
            <dd>
              {circuit.agreed.failing} of {circuit.agreed.of}
            </dd>
          </div>
        )}
        <div>
          <dt>Decided by</dt>
          <dd>
            <bdi>{circuit.actor ?? (circuit.scope === "fleet" ? "the fleet" : "each process")}</bdi>
          </dd>
        </div>
        {circuit.openings > 0 && (
          <div>
            <dt>Openings</dt>
            <dd>{circuit.openings}</dd>
          </div>
        )}
        {traffic !== undefined && (
          <>
            <div>
              <dt>Calls</dt>
              <dd>{rate(traffic.calls)} /s</dd>
            </div>
            {traffic.p95 !== undefined && (
              <div>
                <dt>p50, p95</dt>
                <dd>
                  {traffic.p50 === undefined ? "–" : took(traffic.p50)}, {took(traffic.p95)}
                </dd>
              </div>
            )}
          </>
        )}
      </dl>
      {steering.allowed && (
        <div class="buttons">
          {forced && (
            <button type="button" class="primary" onClick={() => steering.ask(circuit, "release")}>
              Release
            </button>
          )}
          {(["isolate", "disable", "open", "close", "reset"] as const).map((action) => (
            <button key={action} type="button" onClick={() => steering.ask(circuit, action)}>
              {action[0]?.toUpperCase() + action.slice(1)}
            </button>
          ))}
        </div>
      )}
      {found === undefined ? (
        <p class="quiet">Loading…</p>
      ) : "error" in found ? (
        <p class="refused">{found.error}</p>
      ) : (
        <>
          <section>
            <h2>Traffic and states</h2>
            <Timeline detail={{ ...found, circuit }} every={every} at={at} />
          </section>
          {circuit.key === undefined && (
            <section>
              <h2>What if the policy were another one?</h2>
              <WhatIf circuit={circuit} transitions={found.transitions} every={every} at={at} />
            </section>
          )}
          <div class="columns">
            <section>
              <h2>History</h2>
              {found.transitions.length === 0 ? (
                <p class="quiet">No transition is known.</p>
              ) : (
                <ol class="history">
                  {found.transitions
                    .slice(-30)
                    .reverse()
                    .map((one) => (
                      <li key={`${one.at} ${one.key} ${one.to}`}>
                        <time dateTime={new Date(one.at).toISOString()}>{clock(one.at)}</time>
                        <StateMark state={one.to} />
                        <span>
                          {words[one.to]}
                          {one.key !== undefined && circuit.key === undefined && (
                            <span class="key">
                              <bdi>{printable(one.key)}</bdi>
                            </span>
                          )}
                          {one.why !== undefined && (
                            <span class="quiet">
                              {" "}
                              <bdi>{one.why}</bdi>
                            </span>
                          )}
                          {one.actor !== undefined && (
                            <span class="quiet">
                              {" "}
                              by <bdi>{one.actor}</bdi>
                            </span>
                          )}
                        </span>
                      </li>
                    ))}
                </ol>
              )}
            </section>
            <section>
              <h2>Last failures</h2>
              {found.failures.length === 0 ? (
                <p class="quiet">None is known.</p>
              ) : (
                <ol class="history">
                  {found.failures.map((one) => (
                    <li key={`${one.at} ${one.error}`}>
                      <time dateTime={new Date(one.at).toISOString()}>{clock(one.at)}</time>
                      <code>{one.error}</code>
                    </li>
                  ))}
                </ol>
              )}
              {found.policy.length > 0 && (
                <>
                  <h2>Policy, where it differs from the default</h2>
                  <ul class="pairs">
                    {found.policy.map((one) => (
                      <li key={one.name}>
                        <code>{one.name}</code> {one.value}
                      </li>
                    ))}
                  </ul>
                </>
              )}
            </section>
          </div>
        </>
      )}
    </main>
  )
}
