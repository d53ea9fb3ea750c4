import { useEffect, useState } from "preact/hooks"
import { printable } from "../src/core/printable.ts"
import type { CircuitDetail, CircuitView } from "../src/dashboard/view.ts"
import { clock, count, dayAndClock, rate, took } from "./format.ts"
import { Processes } from "./Processes.tsx"
import { Name, Since, StateBadge, StateMark, Until, words } from "./parts.tsx"
import { Timeline } from "./Timeline.tsx"
import type { Steering } from "./Troubles.tsx"
import { WhatIf } from "./WhatIf.tsx"

const agreement = ({ processes: shown, reporting: { notClosed, processes } }: CircuitDetail): string =>
  [
    `Not closed in ${notClosed.toLocaleString("en-US")} of ${count(processes, "process", "processes")}, by their latest heartbeats.`,
    ...(processes > shown.length ? [`The table shows ${shown.length} of them, the worst first.`] : [])
  ].join(" ")

/** Shows one circuit. Reloads the details when the circuit changes, and after each sample. */
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
  }, [circuit.id, circuit.state, circuit.since, circuit.downSince, circuit.actor, Math.floor(at / every)])
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
        {circuit.state === "HalfOpen" && circuit.process !== undefined && (
          <div>
            <dt>Probing</dt>
            <dd>
              <bdi>{circuit.process}</bdi>
            </dd>
          </div>
        )}
        {circuit.recentFailures !== undefined && (
          <div>
            <dt>Recent failures</dt>
            <dd>{circuit.recentFailures.toLocaleString("en-US")}</dd>
          </div>
        )}
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
          {found.links.length > 0 && (
            <p class="links">
              {found.links.map(({ href, title }) => (
                <a key={title} href={href} target="_blank" rel="noreferrer noopener">
                  {title}
                </a>
              ))}
            </p>
          )}
          <section>
            <h2>Traffic and states</h2>
            <Timeline detail={{ ...found, circuit }} every={every} at={at} />
          </section>
          {circuit.key === undefined && (
            <section>
              <h2>What if the policy were different?</h2>
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
                        <time dateTime={new Date(one.at).toISOString()}>{dayAndClock(one.at, at)}</time>
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
                <p class="quiet">No failure is known.</p>
              ) : (
                <ol class="history failures">
                  {found.failures.map((one) => (
                    <li key={`${one.at} ${one.error}`}>
                      {one.at !== undefined && <time dateTime={new Date(one.at).toISOString()}>{clock(one.at)}</time>}
                      <code>{one.error}</code>
                      {one.at === undefined && (
                        <span class="quiet">in {count(one.processes, "process", "processes")}</span>
                      )}
                    </li>
                  ))}
                </ol>
              )}
              <h2>Policy</h2>
              {found.policies === 0 ? (
                <p class="quiet">
                  Not known. A process reports the policy of a circuit only while the circuit fails or is not closed.
                </p>
              ) : found.policy.length === 0 ? (
                <p>The default.</p>
              ) : (
                <ul class="pairs">
                  {found.policy.map((one) => (
                    <li key={one.name}>
                      <code>{one.name}</code> {one.value}
                    </li>
                  ))}
                </ul>
              )}
              {found.policies > 1 && (
                <p class="refused">
                  The processes have {found.policies} different policies. This is the most frequent policy.
                </p>
              )}
            </section>
          </div>
          {found.processes.length > 0 && (
            <section>
              <h2>State in each process</h2>
              <p class="quiet">{agreement(found)}</p>
              <Processes processes={found.processes} isKey={circuit.key !== undefined} />
            </section>
          )}
        </>
      )}
    </main>
  )
}
