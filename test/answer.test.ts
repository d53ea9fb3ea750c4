import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Circuit } from "effect-fuse/core"
import {
  type Answer,
  admitsAt,
  answer,
  cooldownWait,
  enforced,
  isLasting,
  passesAll,
  refused,
  rejectsAt,
  retryAfter,
  switchedOn
} from "../src/engine/answer.ts"
import { FleetState } from "../src/engine/fleetState.ts"
import { NamedGroup } from "../src/engine/group.ts"
import { LiveCircuit } from "../src/engine/liveCircuit.ts"
import { stand } from "../src/engine/standing.ts"
import type { Time } from "../src/engine/time.ts"
import { defaults, type Policy } from "../src/policy/policy.ts"
import { none } from "../src/policy/settings.ts"

const now = 100_000
const cause: Circuit.Cause = { why: "Tripped", detail: "5 failures in a row", actor: undefined }
const until = (circuit: Circuit.Closed, at: number) =>
  Circuit.open(circuit, now - 1_000, { openFor: at - (now - 1_000), cause, at: 0 })

const closed = { ...Circuit.initial, epoch: 1 }
const open = until(closed, now + 9_000)
const over = until(closed, now)
const halfOpen = (...leases: ReadonlyArray<number>): Circuit.HalfOpen => ({
  ...Circuit.probe(over, now, defaults),
  leases: leases.map((lease, id) => ({ id, until: lease }))
})

/** The circuit's own state, beneath its overrides. A busy one has a probe for another 300 ms. */
const states = {
  Closed: closed,
  Ramping: { ...closed, since: now - 100, rampUntil: now + 700 },
  RampOver: { ...closed, since: now - 100, rampUntil: now },
  Open: open,
  CooldownOver: over,
  HalfOpenFree: halfOpen(now),
  HalfOpenBusy: halfOpen(now + 300)
} as const

const force = (control: Circuit.Circuit, tag: "Isolated" | "Disabled", millis: number) =>
  Circuit.force(control, tag, now, { until: now + millis, reason: "moving", actor: "olga" })

/** Overrides: on the circuit itself, or on its name. */
const overrides = {
  none: undefined,
  IsolatedBriefly: { tag: "Isolated", millis: 5_000, onName: false },
  IsolatedForLong: { tag: "Isolated", millis: 20_000, onName: false },
  IsolatedForEver: { tag: "Isolated", millis: Infinity, onName: false },
  Disabled: { tag: "Disabled", millis: Infinity, onName: false },
  NameIsolated: { tag: "Isolated", millis: 5_000, onName: true },
  NameDisabled: { tag: "Disabled", millis: Infinity, onName: true }
} as const

/** The state of the circuit that is depended on. */
const dependencies = {
  none: undefined,
  Closed: closed,
  Open: until(closed, now + 7_000),
  CooldownOver: over,
  HalfOpenBusy: halfOpen(now + 300),
  Isolated: force(closed, "Isolated", 7_000),
  Disabled: force(open, "Disabled", Infinity)
} as const

/** Whether the state is this process's or the fleet's, and what the fleet has said of a lease for a probe. */
const scopes = ["local", "fleet", "fleet, asking for a lease", "fleet, with a spare lease"] as const

interface Case {
  readonly override: keyof typeof overrides
  readonly dependency: keyof typeof dependencies
  readonly scope: (typeof scopes)[number]
  readonly state: keyof typeof states
  readonly mode: Policy["mode"]
  readonly enabled: boolean
}

const product = <A extends object, K extends string, V>(all: ReadonlyArray<A>, name: K, values: ReadonlyArray<V>) =>
  all.flatMap((one) => values.map((value) => ({ ...one, [name]: value }) as A & Record<K, V>))

const keys = <A extends object>(record: A) => Object.keys(record) as Array<keyof A>

const cases: ReadonlyArray<Case> = [
  ["override", keys(overrides)],
  ["dependency", keys(dependencies)],
  ["scope", scopes],
  ["state", keys(states)],
  ["mode", ["enforce", "observe"]],
  ["enabled", [true, false]]
].reduce<ReadonlyArray<object>>(
  (all, [name, values]) => product(all, name as string, values as ReadonlyArray<unknown>),
  [{}]
) as ReadonlyArray<Case>

const make = (name: string, policy: Partial<Policy>, control: Circuit.Circuit, key?: string) => {
  const group = new NamedGroup(name, none, () => {})
  group.policy = { ...defaults, ...policy }
  const circuit = new LiveCircuit(group, key)
  circuit.control.value = control
  return circuit
}

const find = (...all: ReadonlyArray<LiveCircuit>) => ({
  peek: (name: string, key: string | undefined) => all.find((one) => one.group.name === name && one.key === key)
})

const build = ({ dependency, enabled, mode, override, scope, state }: Case) => {
  const set = overrides[override]
  const own: Circuit.Circuit = states[state]
  const control = set === undefined || set.onName ? own : force(own, set.tag, set.millis)
  const circuit = make("api", { mode, enabled, dependsOn: dependency === "none" ? [] : ["db"] }, control, "eu")
  const named = new LiveCircuit(circuit.group, undefined)
  if (set?.onName === true) {
    named.control.value = force(closed, set.tag, set.millis)
    circuit.group.single = named
    circuit.group.forced = true
  }
  if (scope !== "local") {
    circuit.fleetState = new FleetState()
    circuit.fleetState.record.adopted = control.epoch
    circuit.fleetState.lease.asking = scope === "fleet, asking for a lease"
    if (scope === "fleet, with a spare lease") {
      circuit.fleetState.lease.spare = { _tag: "Granted", lease: 0, epoch: control.epoch, until: now + 1_000 }
    }
  }
  const db = make("db", {}, dependencies[dependency] ?? closed)
  return { circuit, db, named, circuits: find(...(dependency === "none" ? [] : [db])) }
}

type Built = ReturnType<typeof build>

const told = (found: Answer) => {
  switch (found._tag) {
    case "Admit":
      return `Admit as ${found.as}`
    case "Pass":
      return `Pass, ${found.why}`
    default:
      return `Reject, ${found.reason} by ${found.by.group.name}/${found.by.key ?? ""} for ${found.wait}`
  }
}

/** The longest of all reasons. Half-open becomes an opening that is over beneath an override. */
const waitOf = ({ dependency, override, scope, state }: Case): number => {
  const set = overrides[override]
  const isBlocked = dependency === "Open" || dependency === "Isolated"
  const isBeneath = set !== undefined && !set.onName
  const own = { Ramping: 700, Open: 9_000, HalfOpenBusy: isBeneath ? 0 : 300 } as const
  const mine = state in own ? own[state as keyof typeof own] : 0
  const wait = Math.max(set?.tag === "Isolated" ? set.millis : 0, isBlocked ? 7_000 : 0, mine)
  return wait === 0 && scope === "fleet, asking for a lease" ? 50 : wait
}

/** The specification, in the order of admission. */
const expected = (one: Case): string => {
  const { dependency, enabled, mode, override, scope, state } = one
  const no = (reason: string, by = "api/eu") =>
    mode === "observe" ? "Pass, Observed" : `Reject, ${reason} by ${by} for ${waitOf(one)}`
  if (!enabled) return "Pass, SwitchedOff"
  if (override === "Disabled" || override === "NameDisabled") return "Pass, Disabled"
  if (override === "NameIsolated") return no("Isolated", "api/")
  if (override !== "none") return no("Isolated")
  if (dependency === "Open" || dependency === "Isolated") return no("Dependency", "db/")
  if (scope === "fleet, with a spare lease") return "Admit as Probe"
  if (state === "Closed" || state === "RampOver") return "Admit as Normal"
  if (state === "Ramping") return "Admit as Ramp"
  if (state === "Open") return no("Cooldown")
  if (state === "HalfOpenBusy" || scope === "fleet, asking for a lease") return no("ProbesBusy")
  return "Admit as Probe"
}

const each = (check: (one: Case, built: Built) => void) => {
  for (const one of cases) {
    // Only a state other than Closed can be the state of the fleet.
    if (one.scope !== "local" && states[one.state]._tag === "Closed") continue
    check(one, build(one))
  }
}

describe("The answer to a call", () => {
  it("comes from the first of the switch, the override, the dependency and the circuit's own state, but has the longest wait", () => {
    const seen = new Set<string>()
    each((one, { circuit, circuits }) => {
      const found = told(answer(circuits, circuit, now))
      assert.strictEqual(found, expected(one), JSON.stringify(one))
      seen.add(found.replace(/ by .*/, ""))
    })
    assert.deepStrictEqual([...seen].sort(), [
      "Admit as Normal",
      "Admit as Probe",
      "Admit as Ramp",
      "Pass, Disabled",
      "Pass, Observed",
      "Pass, SwitchedOff",
      "Reject, Cooldown",
      "Reject, Dependency",
      "Reject, Isolated",
      "Reject, ProbesBusy"
    ])
  })

  it("depends on the state alone, if the policy enforces and is enabled", () => {
    each((one, { circuit, circuits }) => {
      const found = told(enforced(circuits, circuit, now))
      assert.strictEqual(found, expected({ ...one, mode: "enforce", enabled: true }), JSON.stringify(one))
    })
  })

  it("changes exactly when its wait is over, unless a probe decides", () => {
    each((one, { circuit, circuits }) => {
      const found = answer(circuits, circuit, now)
      if (found._tag !== "Reject" || !isLasting(found) || found.wait === Infinity) return
      const before = answer(circuits, circuit, now + found.wait - 1)
      assert.isTrue(before._tag === "Reject", JSON.stringify(one))
      const after = answer(circuits, circuit, now + found.wait)
      assert.isTrue(after._tag !== "Reject" || !isLasting(after), JSON.stringify(one))
    })
  })

  it("is one constant for each admission and pass: a call that is not rejected allocates no answer", () => {
    const known = new Map<string, Answer>()
    each((_, { circuit, circuits }) => {
      const found = answer(circuits, circuit, now)
      if (found._tag === "Reject") return
      assert.strictEqual(known.get(told(found)) ?? found, found)
      known.set(told(found), found)
    })
  })

  it("is the same in the hot paths, which decide alone if no flag, dependency or override can", () => {
    const time = { now: () => now, wall: () => now } as unknown as Time
    const times = { admitted: 0, rejected: 0, undecided: 0 }
    each((one, { circuit, circuits }) => {
      const found = told(answer(circuits, circuit, now))
      const isAlone = one.override === "none" && one.dependency === "none" && one.mode === "enforce" && one.enabled
      const isAdmitted = admitsAt(circuit, time) !== undefined
      const isRejected = rejectsAt(circuit, time) !== undefined && circuit.fleetState?.lease.spare === undefined
      const cooldown = `Reject, Cooldown by api/eu for ${cooldownWait(circuit, now)}`
      if (isAdmitted || isAlone) assert.strictEqual(isAdmitted, found === "Admit as Normal", JSON.stringify(one))
      if (isRejected || isAlone) assert.strictEqual(isRejected, found === cooldown, JSON.stringify(one))
      times[isAdmitted ? "admitted" : isRejected ? "rejected" : "undecided"]++
    })
    assert.isAbove(Math.min(times.admitted, times.rejected, times.undecided), 0)
  })

  it("passes all calls if the policy only observes, if nothing rejects them, and not while a probe decides", () => {
    each((one, { circuit, circuits }) => {
      const found = expected(one)
      const all = one.mode === "observe" || found.startsWith("Pass") || /Normal|Ramp/.test(found)
      assert.strictEqual(passesAll(circuits, circuit, now), all, JSON.stringify(one))
    })
  })

  it("has a wait of 0 for a call that would pass, and of a second at most during a ramp", () => {
    each((one, { circuit, circuits }) => {
      const found = expected({ ...one, mode: "enforce", enabled: true })
      const wait = found.startsWith("Reject") ? waitOf(one) : found === "Admit as Ramp" ? 700 : 0
      assert.strictEqual(retryAfter(circuits, circuit, now), wait, JSON.stringify(one))
    })
  })
})

/** Each case has the state of the name, the state of a key, and whether a dependency of both rejects calls. */
const heldCases = keys(states).flatMap((name) =>
  keys(states).flatMap((own) => [false, true].map((isBlocked) => ({ name, own, isBlocked })))
)
type Held = (typeof heldCases)[number]

const buildHeld = ({ isBlocked, name, own }: Held) => {
  const circuit = make("api", { span: true, dependsOn: isBlocked ? ["db"] : [] }, states[own], "eu")
  const named = new LiveCircuit(circuit.group, undefined)
  named.control.value = name === "Open" ? until(closed, now + 4_000) : states[name]
  circuit.group.single = named
  stand(circuit.group, now)
  return { circuit, named, circuits: find(make("db", {}, until(closed, now + 7_000))) }
}

const expectedHeld = ({ isBlocked, name, own }: Held): string => {
  const waits = {
    Closed: 0,
    RampOver: 0,
    Ramping: 700,
    Open: 9_000,
    CooldownOver: 0,
    HalfOpenFree: 0,
    HalfOpenBusy: 300
  }
  const wait = Math.max(isBlocked ? 7_000 : 0, name === "Open" ? 4_000 : waits[name], waits[own])
  const no = (reason: string, by: string) => `Reject, ${reason} by ${by} for ${wait}`
  if (isBlocked) return no("Dependency", "db/")
  if (name === "Open") return no("Cooldown", "api/")
  if (name === "HalfOpenBusy") return no("ProbesBusy", "api/")
  if (own === "Open") return no("Cooldown", "api/eu")
  if (own === "HalfOpenBusy") return no("ProbesBusy", "api/eu")
  if (name === "CooldownOver" || name === "HalfOpenFree") return "Admit as NameProbe"
  if (own === "CooldownOver" || own === "HalfOpenFree") return "Admit as Probe"
  return name === "Ramping" || own === "Ramping" ? "Admit as Ramp" : "Admit as Normal"
}

describe("The circuit of a name with a span", () => {
  it("decides before the circuit of the key, but the answer has the longer wait", () => {
    for (const one of heldCases) {
      const { circuit, circuits } = buildHeld(one)
      assert.strictEqual(told(answer(circuits, circuit, now)), expectedHeld(one), JSON.stringify(one))
    }
  })

  it("gives another answer when its wait is over, and not a millisecond before", () => {
    for (const one of heldCases) {
      const { circuit, circuits } = buildHeld(one)
      const found = answer(circuits, circuit, now)
      if (found._tag !== "Reject" || !isLasting(found)) continue
      assert.strictEqual(answer(circuits, circuit, now + found.wait - 1)._tag, "Reject", JSON.stringify(one))
      const after = answer(circuits, circuit, now + found.wait)
      assert.isTrue(after._tag !== "Reject" || !isLasting(after), JSON.stringify(one))
    }
  })

  it("gives the same answer as the hot paths, and passes all calls unless a call is rejected or is a probe", () => {
    const time = { now: () => now, wall: () => now } as unknown as Time
    for (const one of heldCases) {
      const { circuit, circuits, named } = buildHeld(one)
      const said = expectedHeld(one)
      if (admitsAt(circuit, time) !== undefined) assert.strictEqual(said, "Admit as Normal", JSON.stringify(one))
      if (rejectsAt(circuit, time) !== undefined)
        assert.match(said, /^Reject, Cooldown by api\/eu/, JSON.stringify(one))
      assert.strictEqual(passesAll(circuits, circuit, now), /Normal|Ramp/.test(said), JSON.stringify(one))
      // Calls without a key still use the hot paths.
      if (!one.isBlocked) assert.strictEqual(rejectsAt(named, time) !== undefined, one.name === "Open")
    }
  })

  it("does not decide for a key if it is switched off, or only observes while the key enforces", () => {
    for (const policy of [{ enabled: false }, { mode: "observe" }] as const) {
      const { circuit, circuits } = buildHeld({ name: "Open", own: "Closed", isBlocked: false })
      circuit.group.policy = { ...circuit.group.policy, ...policy }
      assert.strictEqual(told(answer(circuits, circuit, now)), "Admit as Normal")
    }
  })

  it("is busy while another call asks the fleet for its lease, and probes with a spare lease", () => {
    const { circuit, circuits, named } = buildHeld({ name: "CooldownOver", own: "Closed", isBlocked: false })
    const { epoch } = named.control.value
    named.fleetState = new FleetState()
    named.fleetState.record.adopted = epoch
    named.fleetState.lease.asking = true
    assert.strictEqual(told(answer(circuits, circuit, now)), "Reject, ProbesBusy by api/ for 50")
    named.fleetState.lease.spare = { _tag: "Granted", lease: 0, epoch, until: now + 1_000 }
    assert.strictEqual(told(answer(circuits, circuit, now)), "Admit as NameProbe")
  })

  it("does not decide for the keys without a span", () => {
    const { circuit, circuits } = buildHeld({ name: "Open", own: "Closed", isBlocked: false })
    circuit.group.policy = { ...circuit.group.policy, span: false }
    stand(circuit.group, now)
    assert.strictEqual(told(answer(circuits, circuit, now)), "Admit as Normal")
  })
})

describe("A dependency", () => {
  const policies = { "only observes": { mode: "observe" }, "is switched off": { enabled: false } } as const
  for (const what of keys(policies)) {
    it(`that ${what} blocks nothing`, () => {
      const circuit = make("api", { dependsOn: ["db"] }, closed)
      assert.strictEqual(told(answer(find(make("db", policies[what], open)), circuit, now)), "Admit as Normal")
    })
  }

  it("may be indirect, may be a circuit of the same key, and may be part of a cycle", () => {
    const circuit = make("api", { dependsOn: ["cache", "db"] }, closed, "eu")
    const cache = make("cache", { dependsOn: ["api", "network"] }, closed, "eu")
    const network = make("network", { dependsOn: ["api"] }, open)
    assert.strictEqual(
      told(answer(find(circuit, cache, network), circuit, now)),
      "Reject, Dependency by network/ for 9000"
    )
  })

  it("does not hide the next dependency in the list, or its own dependency", () => {
    const circuit = make("api", { dependsOn: ["cache", "db"] }, closed, "eu")
    const cache = make("cache", { dependsOn: ["network"] }, closed)
    const db = (key?: string) => make("db", {}, key === undefined ? closed : open, key)
    assert.strictEqual(
      told(answer(find(cache, make("network", {}, closed), db(), db("eu")), circuit, now)),
      "Reject, Dependency by db/eu for 9000"
    )
  })

  it("that depends on itself through others is visited once", () => {
    const circuit = make("api", { dependsOn: ["cache"] }, closed)
    const cache = make("cache", { dependsOn: ["db"] }, closed)
    const db = make("db", { dependsOn: ["cache"] }, closed)
    assert.strictEqual(told(answer(find(cache, db), circuit, now)), "Admit as Normal")
  })

  it("that depends on the circuit itself does not block it", () => {
    const circuit = make("api", { dependsOn: ["db"] }, open)
    const db = make("db", { dependsOn: ["api"] }, closed)
    assert.strictEqual(told(answer(find(circuit, db), circuit, now)), "Reject, Cooldown by api/ for 9000")
  })

  it("that is disabled blocks nothing, and neither does what it depends on", () => {
    const circuit = make("api", { dependsOn: ["db"] }, closed)
    const db = make("db", { dependsOn: ["network"] }, force(closed, "Disabled", 60_000))
    assert.strictEqual(told(answer(find(db, make("network", {}, open)), circuit, now)), "Admit as Normal")
  })
})

describe("A lease of the fleet", () => {
  const lease = (scope: Case["scope"], state: Case["state"]) =>
    build({ override: "none", dependency: "none", scope, state, mode: "enforce", enabled: true })

  it("that is spare admits a call in its own epoch only", () => {
    const { circuit, circuits } = lease("fleet, with a spare lease", "HalfOpenBusy")
    assert.strictEqual(told(answer(circuits, circuit, now)), "Admit as Probe")
    circuit.control.value = { ...open, epoch: open.epoch + 5 }
    assert.strictEqual(told(answer(circuits, circuit, now)), "Reject, Cooldown by api/eu for 9000")
  })

  it("that is spare admits no call from its end on", () => {
    const { circuit, circuits } = lease("fleet, with a spare lease", "Open")
    const { until = 0 } = circuit.fleetState?.lease.spare ?? {}
    assert.strictEqual(told(answer(circuits, circuit, until - 1)), "Admit as Probe")
    assert.strictEqual(told(answer(circuits, circuit, until)), "Reject, Cooldown by api/eu for 8000")
  })

  it("that is being requested does not matter once this process alone decides the state", () => {
    const { circuit, circuits } = lease("fleet, asking for a lease", "CooldownOver")
    assert.strictEqual(told(answer(circuits, circuit, now)), "Reject, ProbesBusy by api/eu for 50")
    if (circuit.fleetState !== undefined) circuit.fleetState.record.adopted = -1
    assert.strictEqual(told(answer(circuits, circuit, now)), "Admit as Probe")
  })
})

describe("A rejection lasts until its time", () => {
  const probe = { check: Effect.void, schedule: 1_000, opens: 0 }
  const isolated = force(closed, "Isolated", 5_000)
  const reasons: ReadonlyArray<readonly [string, Partial<Policy>, Circuit.Circuit, boolean]> = [
    ["a cooldown does", {}, open, true],
    ["a cooldown does not if a health check may close the circuit", { probe }, open, false],
    ["an isolation does, also with a health check", { probe }, isolated, true],
    ["probes do not: their outcome decides", {}, states.HalfOpenBusy, false]
  ]
  it.each(reasons)("%s", (_, policy, control, lasts) => {
    const circuit = make("api", policy, control)
    const found = answer(find(), circuit, now)
    assert.strictEqual(found._tag === "Reject" && isLasting(found), lasts)
  })

  it("a dependency does not if its health check may close it", () => {
    const circuit = make("api", { dependsOn: ["db"] }, closed)
    for (const [policy, lasts] of [[{ probe }, false] as const, [{}, true] as const]) {
      const found = answer(find(make("db", policy, open)), circuit, now)
      assert.strictEqual(found._tag === "Reject" && isLasting(found), lasts)
    }
  })
})

describe("The wait of a rejection", () => {
  it("ends with the isolation if the circuit is disabled then, however long a dependency is open", () => {
    const isolated = force(force(closed, "Disabled", 60_000), "Isolated", 1_000)
    const circuit = make("api", { dependsOn: ["db"] }, isolated)
    assert.strictEqual(told(answer(find(make("db", {}, open)), circuit, now)), "Reject, Isolated by api/ for 1000")
  })

  it("includes a dependency that is disabled now and rejects calls again before the circuit lets them through", () => {
    const circuit = make("api", { dependsOn: ["db"] }, open)
    const db = make("db", {}, force(until(closed, now + 60_000), "Disabled", 1_000))
    assert.strictEqual(told(answer(find(db), circuit, now)), "Reject, Cooldown by api/ for 60000")
  })
})

describe("The answer to an admitted call that cannot run", () => {
  const cases: ReadonlyArray<readonly [Parameters<typeof refused>[3], keyof typeof states, Policy["mode"], string]> = [
    ["Ramping", "Ramping", "enforce", "Reject, Ramping by api/ for 700"],
    ["Ramping", "RampOver", "enforce", "Reject, Ramping by api/ for 0"],
    ["Ramping", "Ramping", "observe", "Pass, Observed"],
    ["ProbesBusy", "HalfOpenBusy", "enforce", "Reject, ProbesBusy by api/ for 300"],
    ["ProbesBusy", "CooldownOver", "enforce", "Reject, ProbesBusy by api/ for 50"],
    ["ProbesBusy", "CooldownOver", "observe", "Pass, Observed"]
  ]
  it.each(cases)("for the reason %s, in the state %s, with the mode %s, is: %s", (reason, state, mode, expected) => {
    const circuit = make("api", { mode }, states[state])
    assert.strictEqual(told(refused(find(), circuit, now, reason)), expected)
  })
})

it.each(Object.entries(states))("The wait of a cooldown is 0 in every state except Open: %s", (_, state) => {
  const wait = state._tag === "Open" ? state.until - now : 0
  assert.strictEqual(cooldownWait(make("api", {}, state), now), wait)
})

describe("Only a flag that is false switches a circuit off:", () => {
  const flags: ReadonlyArray<readonly [what: string, enabled: unknown, isOn: boolean]> = [
    ["true", true, true],
    ["false", false, false],
    ["an effect of true", Effect.succeed(true), true],
    ["an effect of false", Effect.succeed(false), false],
    ["an effect that fails", Effect.fail("down"), true],
    ["an effect that dies", Effect.die("bug"), true],
    ["an effect of another value", Effect.succeed(undefined), true],
    ["a function of true", () => true, true],
    ["a function of false", () => false, false],
    ["a function of an effect of false", () => Effect.succeed(false), false],
    ["a function that throws", () => assert.fail("bug"), true],
    ["false for its name", ({ name }: { readonly name: string }) => name !== "api", false],
    ["false for its key", ({ key }: { readonly key: string }) => key !== "eu", false]
  ]
  it.effect.each(flags)("%s", ([, enabled, isOn]) =>
    Effect.gen(function* () {
      const circuit = make("api", { enabled: enabled as Policy["enabled"] }, closed, "eu")
      assert.strictEqual(yield* switchedOn(circuit), isOn)
    })
  )
})
