/** The content of the pictures of the page: the circuits of a shop, two of which are open. */
import type {
  CircuitDetail,
  CircuitView,
  HistoryView,
  PageView,
  ProcessView,
  TransitionView
} from "../src/dashboard/view.ts"

const samples = 60

/** Simulates traffic that rises and falls. With `rejected` above 0, an outage begins after the sample `from`. */
const wave = (base: number, seed: number, failing = 0.004, rejected = 0, from = 42): HistoryView => {
  const at = Array.from({ length: samples }, (_, i) => i)
  const load = at.map((i) => base * (1 + 0.2 * Math.sin(i / 5 + seed) + 0.08 * Math.sin(i * 1.7 + seed)))
  const isOut = (i: number) => rejected > 0 && i > from
  // During an outage, probes fail. An isolated circuit (`from` below 0) makes no probes.
  const probes = from < 0 ? 0 : 0.4
  const calls = load.map((n, i) => (isOut(i) ? probes : n))
  const failures = calls.map((n, i) => (isOut(i) ? probes : n * failing * (rejected > 0 && i > from - 5 ? 30 : 1)))
  return { calls, failures, rejections: load.map((n, i) => (isOut(i) ? n * rejected : 0)) }
}

const circuit = (
  at: number,
  { history, name, ...facts }: Partial<CircuitView> & { readonly name: string; readonly history: HistoryView }
): CircuitView => ({
  id: `${name}/${facts.key ?? ""}`,
  name,
  key: undefined,
  state: "Closed",
  rolledUp: false,
  scope: "fleet",
  since: at - 7_200_000,
  downSince: undefined,
  until: undefined,
  why: undefined,
  process: undefined,
  actor: undefined,
  agreed: undefined,
  openings: 0,
  traffic: {
    calls: history.calls.at(-1) ?? 0,
    failures: history.failures.at(-1) ?? 0,
    rejections: history.rejections.at(-1) ?? 0,
    slow: 0,
    p50: 8 + (name.length % 5) * 9,
    p95: 40 + (name.length % 7) * 31,
    inFlight: 1 + (name.length % 4),
    limit: undefined
  },
  history,
  recentFailures: undefined,
  keys: 0,
  keysDown: 0,
  processes: 6,
  ...facts
})

const healthy = ["auth", "catalog", "geo", "images", "language-model", "mail", "pricing", "sessions", "shipping"]

const whys: Readonly<Record<string, string>> = {
  "Closed Open": "31 of 48 calls failed in 10s (limit 50%)",
  "Open HalfOpen": "the cooldown is over",
  "HalfOpen Open": "a probe failed: HTTP 503",
  "HalfOpen Closed": "probes succeeded"
}

/** The details of the circuit that is open. */
export const pictureDetail = (view: PageView, id: string): CircuitDetail | undefined => {
  const circuit = view.circuits.find((one) => one.id === id)
  if (circuit === undefined) return undefined
  const { key, name } = circuit
  const process = (i: number): ProcessView => ({
    ...{ process: `checkout-${i}`, state: undefined, keys: 0, recentFailures: undefined },
    ...{ notClosed: 1, calls: 0.1, failures: 0.1, rejections: 6 + (i % 3) * 0.7 }
  })
  return {
    circuit,
    transitions: view.transitions.filter((one) => one.name === name),
    failures: [
      { at: undefined, error: "HTTP 503 from POST https://api.payments.example", processes: 4 },
      { at: undefined, error: "TimeoutError: no answer within 2s", processes: 2 }
    ],
    policy: [
      { name: "trip", value: "50 % failures of at least 40 calls within 10s" },
      { name: "probes", value: "2" }
    ],
    policies: 1,
    processes: [1, 2, 3, 4, 5, 6].map(process),
    reporting: { processes: 6, notClosed: 6 },
    links: ["Metrics", "Logs", "Runbook"].map((title) => ({
      title,
      href: `https://ops.example/${title}?circuit=${name}&key=${key ?? ""}`
    }))
  }
}

export const pictureView = (at: number): PageView => {
  const inventory = { why: "61 % of 140 calls failed within 10 s: connect ETIMEDOUT", downSince: at - 31_000 }
  const circuits = [
    circuit(at, {
      name: "payments",
      state: "Open",
      since: at - 19_000,
      downSince: at - 109_000,
      until: at + 11_000,
      why: "31 of 48 calls failed in 10s (limit 50%)",
      process: "checkout-3",
      agreed: { failing: 5, of: 6 },
      openings: 4,
      history: wave(42, 0, 0.02, 0.95, 38)
    }),
    circuit(at, {
      ...{ name: "inventory", state: "Open", rolledUp: true, until: at + 4_000, openings: 1, keys: 40, keysDown: 3 },
      ...inventory,
      agreed: { failing: 6, of: 6 },
      history: wave(18, 2, 0.03, 0.4, 53)
    }),
    ...["warehouse-berlin", "warehouse-lyon", "warehouse-oslo"].map((key) =>
      circuit(at, { name: "inventory", key, state: "Open", ...inventory, history: wave(3, 2), processes: 0 })
    ),
    circuit(at, {
      name: "recommendations",
      state: "Isolated",
      since: at - 1_260_000,
      until: at + 540_000,
      why: "New ranking model returns empty lists, see INC-4711",
      actor: "maria",
      history: wave(60, 3, 0.01, 1, -1)
    }),
    ...healthy.map((name, i) =>
      circuit(at, { name, history: wave(5 + i * 9, i, i === 6 ? 0.14 : 0.004), keys: i === 1 ? 12 : 0 })
    )
  ]
  const transitions: ReadonlyArray<TransitionView> = (
    [
      [52, "mail", "Closed", "Open"],
      [51.4, "mail", "Open", "HalfOpen"],
      [51.3, "mail", "HalfOpen", "Closed"],
      [21, "recommendations", "Closed", "Isolated"],
      [9.5, "payments", "Closed", "Open"],
      [9, "payments", "Open", "HalfOpen"],
      [8.99, "payments", "HalfOpen", "Closed"],
      [1.817, "payments", "Closed", "Open"],
      [1.316, "payments", "Open", "HalfOpen"],
      [1.31, "payments", "HalfOpen", "Open"],
      [0.813, "payments", "Open", "HalfOpen"],
      [0.81, "payments", "HalfOpen", "Open"],
      [0.32, "payments", "Open", "HalfOpen"],
      [0.317, "payments", "HalfOpen", "Open"],
      [0.5, "inventory", "Closed", "Open"]
    ] as const
  ).map(([minutes, name, from, to]) => ({
    at: at - minutes * 60_000,
    ...{ name, from, to, key: undefined, why: whys[`${from} ${to}`], actor: to === "Isolated" ? "maria" : undefined }
  }))
  return {
    at,
    every: 5_000,
    leftOut: 0,
    source: { kind: "fleet", label: "redis://redis.internal:6379", problem: undefined },
    rights: { steer: true, actor: "maria" },
    processes: 6,
    reporting: 6,
    circuits,
    transitions
  }
}
