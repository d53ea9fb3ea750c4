import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { HttpClient } from "effect/http"
import { RpcGroup } from "effect/rpc"
import { Activity } from "effect/workflow"
import {
  Backoff,
  BreakerPolicy,
  BreakerStore,
  Bulkhead,
  CircuitBreaker,
  CircuitPool,
  MemoryStore,
  Outcome,
  Resilience
} from "effect-fuse"
import * as AiBreaker from "effect-fuse/ai/AiBreaker"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import * as BreakerMetrics from "effect-fuse/BreakerMetrics"
import * as Dashboard from "effect-fuse/Dashboard"
import * as DynamoStore from "effect-fuse/DynamoStore"
import * as EffectCircuitBreaker from "effect-fuse/EffectCircuitBreaker"
import { BreakerRoutes, HttpClientBreaker, HttpServerBreaker } from "effect-fuse/http"
import * as Operator from "effect-fuse/Operator"
import { createBreaker, createManager, protect, wrap } from "effect-fuse/promise"
import { JobBreaker, StreamBreaker } from "effect-fuse/queue"
import * as RedisStore from "effect-fuse/RedisStore"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import * as Simulator from "effect-fuse/Simulator"
import * as SqlStore from "effect-fuse/SqlStore"
import { CircuitTest, Dependency, SharedStoreContract, TestFleet } from "effect-fuse/testing"
import { ActivityBreaker } from "effect-fuse/workflow"
import { publicModules, withoutComments } from "./support/sources.ts"

// biome-ignore lint/suspicious/noExplicitAny: what a caller without types might write
type Any = any

/** One value of a field that is of another type, or out of range. */
type Wrong = readonly [field: string, value: unknown]

interface Row {
  /** Calls the function with options. */
  readonly call: (options: Any) => unknown
  /** Options that are right, of which the wrong ones differ in one field. */
  readonly right?: object
  readonly wrong: ReadonlyArray<Wrong>
  /** Fields that accept any value, or that are checked later: policies are checked when the layer is built. */
  readonly free?: ReadonlyArray<string>
}

const store = Effect.runSync(MemoryStore.make)
const client = HttpClient.make(() => Effect.never)
const pool = CircuitPool.make("api", { members: ["a"] })
const limiter = { consume: () => Effect.succeed({ delay: 0 }) } as never
const queue = { take: () => Effect.void } as never
const fn = async () => 1
const breaker = createBreaker(fn)
const manager = createManager()
const release = () => Effect.void
const activity = Activity.make({ name: "charge", execute: Effect.void })
const dynamo = { send: () => Promise.reject(new Error("unused")) } as never

const ofTarget: ReadonlyArray<Wrong> = [["key", 7]]
const ofPolicy: ReadonlyArray<Wrong> = [
  ["policy", 7],
  ["policy.probes", { probes: 0 }],
  ["policy.cooldown", { cooldown: "soon" }],
  ["policy.coolDown", { coolDown: 1 }],
  ["policy.trip.failures", { trip: { _tag: "Consecutive", failures: 0 } }]
]
const ofPool: ReadonlyArray<Wrong> = [["choose", "best"], ["weights", 7], ["weights.a", { a: 0 }], ...ofPolicy]
const ofReading: ReadonlyArray<Wrong> = [
  ["classify", 7],
  ["isFailure", "yes"],
  ["isIgnored", {}]
]
const ofSubject = [...ofTarget, ...ofPolicy, ...ofReading]
const ofAction: ReadonlyArray<Wrong> = [
  ["key", 7],
  ["key", "k".repeat(513)],
  ["reason", 7],
  ["actor", {}]
]
const ofActionFor: ReadonlyArray<Wrong> = [...ofAction, ["for", "soon"], ["for", 0], ["for", null]]
const ofShared: ReadonlyArray<Wrong> = [
  ["maxCircuits", 0],
  ["syncInterval", "soon"],
  ["connectTimeout", -1],
  ["process", "a b"],
  ["digest", "yes"]
]
const ofFleet: ReadonlyArray<Wrong> = [...ofShared, ["trouble", "none"]]
const ofRedis: ReadonlyArray<Wrong> = [
  ["prefix", "a b"],
  ["subscribe", "yes"]
]
const ofTables: ReadonlyArray<Wrong> = [
  ["prefix", "1a"],
  ["schema", ""]
]
const ofSql: ReadonlyArray<Wrong> = [...ofTables, ["migrate", 1], ["pollInterval", 0]]
const ofDynamo: ReadonlyArray<Wrong> = [
  ["client", {}],
  ["table", "a b"],
  ["prefix", "a b"],
  ["pollInterval", 0]
]
const ofBulkhead: ReadonlyArray<Wrong> = [
  ["concurrency", 0],
  ["concurrency", undefined],
  ["queue", -1],
  ["name", ""]
]
const ofRetry: ReadonlyArray<Wrong> = [
  ["times", -1],
  ["schedule", "1 second"],
  ["while", true],
  ["maxRetryAfter", 0],
  ["waitForCircuit", "soon"],
  ["budget", 7],
  ["budget.share", { name: "a", share: 2 }]
]
const ofDelays: ReadonlyArray<Wrong> = [
  ["minDelay", 0],
  ["maxDelay", "soon"],
  ["jitter", 2]
]
const ofBackoff: ReadonlyArray<Wrong> = [
  ["min", 0],
  ["max", "soon"],
  ["jitter", 1.5]
]
const ofServer: ReadonlyArray<Wrong> = [
  ["key", 7],
  ...ofPolicy,
  ["classify", 7],
  ["tenant", "x-tenant"],
  ["tenant.maxLength", { maxLength: 257 }],
  ["tenant.header", { header: "a b" }],
  ["deadline", "1 minute"],
  ["deadline.max", { max: 0 }],
  ["respond", "xml"],
  ["retryAfter", "date"]
]
const ofClient: ReadonlyArray<Wrong> = [["key", 7], ...ofPolicy, ["classify", 7], ["deadline", 7]]
const ofRpc: ReadonlyArray<Wrong> = [...ofClient, ["isFailure", 7]]
const ofCall: ReadonlyArray<Wrong> = [
  ["key", 7],
  ["signal", {}]
]
const ofProtection: ReadonlyArray<Wrong> = [
  ["trip", 7],
  ["trip.failures", { _tag: "Consecutive", failures: 0 }],
  ["cooldown", "soon"],
  ["cooldown.0", ["soon"]],
  ["cooldown.linear", { linear: 0 }],
  ["slowCall", 0],
  ["maxCooldown", -1],
  ["probes", 0],
  ["successesToClose", 0],
  ["failuresToReopen", 0.5],
  ["probeTimeout", "soon"],
  ["ramp", -1],
  ["limit", 7],
  ["limit.max", { max: 0 }],
  ["dependsOn", "db"],
  ["mode", "watch"],
  ["fleet", 7],
  ["span", 32],
  ["keys", 7],
  ["enabled", 1],
  ["probe", 5],
  ["probe.check", { check: 1, every: 1 }],
  ["timeout", 0],
  ["retry", "twice"],
  ["retry.times", { times: -1 }],
  ["bulkhead", 5],
  ["bulkhead.concurrency", { concurrency: 0 }],
  ["fallback", 1],
  ["until", "later"],
  ["isFailure", 1],
  ["isIgnored", 1],
  ["rejectionStack", 1]
]
const ofStores: ReadonlyArray<Wrong> = [
  ["redis", "localhost"],
  ["redis.prefix", { url: "redis://localhost", prefix: 7 }],
  ["maxCircuits", 0],
  ["log", true]
]

/** Every function of the library that takes options. */
const rows: Readonly<Record<string, Row>> = {
  "CircuitBreaker.protect": { call: (o) => CircuitBreaker.protect("api", o), wrong: ofSubject },
  "CircuitBreaker.protect, data first": {
    call: (o) => CircuitBreaker.protect(Effect.void, "api", o),
    wrong: ofSubject
  },
  "CircuitBreaker.admit": {
    call: (o) => CircuitBreaker.admit("api", o),
    wrong: [...ofSubject, ["lease", 0], ["lease", "soon"]]
  },
  "CircuitBreaker.forEach": {
    call: (o) => CircuitBreaker.forEach([1], () => Effect.void, o),
    right: { name: "api" },
    wrong: [...ofSubject, ["name", ""], ["name", undefined], ["concurrency", 0], ["concurrency", "all"], ["onOpen", 1]]
  },
  "CircuitBreaker.state": { call: (o) => CircuitBreaker.state("api", o), wrong: ofTarget },
  "CircuitBreaker.scope": { call: (o) => CircuitBreaker.scope("api", o), wrong: ofTarget },
  "CircuitBreaker.inspect": { call: (o) => CircuitBreaker.inspect("api", o), wrong: ofTarget },
  "CircuitBreaker.awaitClosed": { call: (o) => CircuitBreaker.awaitClosed("api", o), wrong: ofTarget },
  "CircuitBreaker.isolate": { call: (o) => CircuitBreaker.isolate("api", o), wrong: ofActionFor },
  "CircuitBreaker.disable": { call: (o) => CircuitBreaker.disable("api", o), wrong: ofActionFor },
  "CircuitBreaker.open": { call: (o) => CircuitBreaker.open("api", o), wrong: ofActionFor },
  "CircuitBreaker.release": { call: (o) => CircuitBreaker.release("api", o), wrong: ofAction },
  "CircuitBreaker.close": { call: (o) => CircuitBreaker.close("api", o), wrong: ofAction },
  "CircuitBreaker.reset": { call: (o) => CircuitBreaker.reset("api", o), wrong: ofAction },
  "BreakerStore.layerMemoryWith": { call: BreakerStore.layerMemoryWith, wrong: [["maxCircuits", 0]] },
  "BreakerStore.layerShared": { call: (o) => BreakerStore.layerShared(store, o), wrong: ofShared },
  "BreakerMetrics.layer": {
    call: BreakerMetrics.layer,
    wrong: [
      ["prefix", "a b"],
      ["keys", 1],
      ["maxSeries", 0],
      ["durations", [2, 1]],
      ["interval", 0]
    ]
  },
  "CircuitPool.make": {
    call: (o) => CircuitPool.make("api", o),
    right: { members: ["a"] },
    wrong: [["members", []], ["members", ["a", "a"]], ...ofPool]
  },
  "CircuitPool.discover": {
    call: (o) => CircuitPool.discover("api", o),
    right: { members: Effect.succeed(["a"]) },
    wrong: [["members", ["a"]], ["every", 0], ["choose", "best"], ["weights", 7], ...ofPolicy]
  },
  "CircuitPool.callMember": { call: (o) => CircuitPool.callMember(pool, "a", () => Effect.void, o), wrong: ofReading },
  "CircuitPool.call": { call: (o) => CircuitPool.call(pool, () => Effect.void, o), wrong: ofReading },
  "CircuitPool.resetAll": {
    call: (o) => CircuitPool.resetAll(pool, o),
    wrong: ofAction.filter(([field]) => field !== "key")
  },
  "Resilience.breaker": { call: (o) => Resilience.breaker("api", o), wrong: ofSubject },
  "Resilience.standard": {
    call: (o) => Resilience.standard("api", o),
    wrong: [
      ["timeout", 0],
      ["bulkhead", 5],
      ["bulkhead.concurrency", { concurrency: 0 }],
      ["breaker", 5],
      ["breaker.key", { key: 7 }],
      ["breaker.policy.probes", { policy: { probes: 0 } }],
      ["breaker.isFailure", { classify: () => Outcome.success, isFailure: () => true }],
      ["retry", "twice"],
      ["retry.times", -1],
      ["retry.times", { times: -1 }],
      ["retry.budget.floor", { budget: { name: "a", floor: -1 } }],
      ["fallback", 5]
    ]
  },
  "Resilience.retry": { call: Resilience.retry, wrong: ofRetry },
  "Resilience.hedge": {
    call: Resilience.hedge,
    right: { after: "1 second" },
    wrong: [
      ["after", 0],
      ["copies", 0],
      ["min", 0],
      ["max", 0],
      ["budget", 7],
      ["budget.name", { name: "" }]
    ]
  },
  "Resilience.rateLimit": {
    call: (o) => Resilience.rateLimit(limiter, o),
    right: { limit: 1, window: "1 second", key: "a" },
    wrong: [
      ["limit", 0],
      ["window", "soon"],
      ["key", ""],
      ["tokens", 0],
      ["algorithm", "leaky"],
      ["onExceeded", "drop"]
    ]
  },
  "Resilience.bulkhead": { call: Resilience.bulkhead, right: { concurrency: 1 }, wrong: ofBulkhead },
  "Resilience.cascade": {
    call: (o) => Resilience.cascade([{ name: "a", call: Effect.void }], o),
    wrong: [["while", 1]]
  },
  "Bulkhead.make": { call: Bulkhead.make, right: { concurrency: 1 }, wrong: ofBulkhead },
  "Bulkhead.makeUnsafe": { call: Bulkhead.makeUnsafe, right: { concurrency: 1 }, wrong: ofBulkhead },
  "Backoff.exponential": { call: Backoff.exponential, wrong: [...ofBackoff, ["factor", 0.5]] },
  "Backoff.linear": { call: Backoff.linear, wrong: [...ofBackoff, ["step", 0]] },
  "EffectCircuitBreaker.layer": { call: (o) => EffectCircuitBreaker.layer("api", o), wrong: ofPolicy },
  "HttpClientBreaker.protect": {
    call: (o) => HttpClientBreaker.protect(client, "api", o),
    wrong: [...ofClient, ["body", "yes"], ["lease", 0]]
  },
  "HttpClientBreaker.standard": {
    call: (o) => HttpClientBreaker.standard(client, "api", o),
    wrong: [...ofClient, ["timeout", 0], ["retry", "twice"], ["retry.times", -1], ["retry.times", { times: -1 }]]
  },
  "HttpServerBreaker.protect": { call: (o) => HttpServerBreaker.protect("api", o), wrong: ofServer },
  "HttpServerBreaker.middleware": {
    call: (o) => HttpServerBreaker.middleware("api", o),
    wrong: [...ofServer, ["exempt", "/a"], ["exempt.0", ["a"]]]
  },
  "HttpServerBreaker.layer": {
    call: (o) => HttpServerBreaker.layer("api", o),
    wrong: [...ofServer, ["exempt", "/a"], ["exempt.0", ["a"]]]
  },
  "HttpServerBreaker.toResponse": {
    call: (o) => HttpServerBreaker.toResponse({ _tag: "BulkheadFull", bulkhead: "a" } as never, o),
    wrong: [
      ["tenant", 7],
      ["format", "xml"],
      ["retryAfter", "date"],
      ["now", "today"]
    ]
  },
  "RpcClientBreaker.protect": {
    call: (o) => RpcClientBreaker.protect(Effect.succeed({}), RpcGroup.make(), "api", o),
    wrong: ofRpc
  },
  "RpcClientBreaker.standard": {
    call: (o) => RpcClientBreaker.standard(Effect.succeed({}), RpcGroup.make(), "api", o),
    wrong: [
      ...ofRpc,
      ["timeout", 0],
      ["idempotent", "GetUser"],
      ["idempotent.0", [""]],
      ["retry", "twice"],
      ["retry.times", { times: -1 }]
    ]
  },
  "RpcServerBreaker.layer": {
    call: (o) => RpcServerBreaker.layer("api", o),
    wrong: [
      ["key", 7],
      ["policy", 7],
      ["classify", true],
      ["deadline", 1_000],
      ["deadline.max", { max: 0 }]
    ]
  },
  "BreakerRoutes.layer": {
    call: BreakerRoutes.layer,
    wrong: [
      ["health", "health"],
      ["breakers", 7],
      ["critical", "api"],
      ["critical.1", ["api", ""]],
      ["keys", 1]
    ]
  },
  "JobBreaker.protect": {
    call: (o) => JobBreaker.protect(Effect.void, "api", o),
    right: { release },
    wrong: [...ofSubject, ...ofDelays, ["release", undefined], ["release", 7]]
  },
  "JobBreaker.handBack": {
    call: (o) => JobBreaker.handBack(Effect.void, o),
    right: { release },
    wrong: [...ofDelays, ["release", 7]]
  },
  "JobBreaker.take": {
    call: (o) => JobBreaker.take(queue, "api", () => Effect.void, o),
    wrong: [...ofSubject, ...ofDelays]
  },
  "ActivityBreaker.protect": {
    call: (o) => ActivityBreaker.protect(activity, "api", o),
    wrong: [...ofSubject, ...ofDelays, ["maxWait", -1]]
  },
  "ActivityBreaker.waitDurably": {
    call: (o) => ActivityBreaker.waitDurably(activity, o),
    wrong: [...ofDelays, ["maxWait", -1]]
  },
  "StreamBreaker.mapEffect": {
    call: (o) => StreamBreaker.mapEffect(Stream.empty, "api", () => Effect.void, o),
    wrong: [...ofSubject, ["concurrency", 0], ["unordered", 1], ["retry", 5], ["retry.times", { times: -1 }]]
  },
  "Outcome.failure": {
    call: Outcome.failure,
    wrong: [
      ["weight", 0],
      ["weight", "1"],
      ["overload", "yes"],
      ["retryAfter", -1],
      ["detail", 7],
      ["scope", "tenant"],
      ["opens", "yes"]
    ]
  },
  "RedisStore.make": { call: RedisStore.make, wrong: ofRedis },
  "RedisStore.connect": { call: (o) => RedisStore.connect(Layer.empty as never, o), wrong: ofRedis },
  "RedisStore.layer": { call: RedisStore.layer, wrong: [...ofRedis, ...ofShared] },
  "RedisStore.layerConnect": {
    call: (o) => RedisStore.layerConnect(Layer.empty as never, o),
    wrong: [...ofRedis, ...ofShared]
  },
  "RedisStore.layerConfig": { call: RedisStore.layerConfig, wrong: [...ofRedis, ...ofShared] },
  "SqlStore.migrate": { call: SqlStore.migrate, wrong: ofTables },
  "SqlStore.make": { call: SqlStore.make, wrong: ofSql },
  "SqlStore.connect": { call: (o) => SqlStore.connect(Layer.empty as never, o), wrong: ofSql },
  "SqlStore.layer": { call: SqlStore.layer, wrong: [...ofSql, ...ofShared] },
  "SqlStore.layerConnect": {
    call: (o) => SqlStore.layerConnect(Layer.empty as never, o),
    wrong: [...ofSql, ...ofShared]
  },
  "DynamoStore.createTable": {
    call: DynamoStore.createTable,
    right: { client: dynamo, table: "circuits" },
    wrong: [
      ["client", {}],
      ["table", "a b"]
    ]
  },
  "DynamoStore.make": { call: DynamoStore.make, right: { client: dynamo, table: "circuits" }, wrong: ofDynamo },
  "DynamoStore.layer": {
    call: DynamoStore.layer,
    right: { client: dynamo, table: "circuits" },
    wrong: [...ofDynamo, ...ofShared]
  },
  "DynamoStore.layerConfig": {
    call: DynamoStore.layerConfig,
    right: { table: "circuits" },
    wrong: [...ofDynamo.slice(1), ...ofShared]
  },
  "AuditTrail.layer": {
    call: AuditTrail.layer,
    wrong: [...ofTables, ["migrate", 1], ["process", ""], ["metadata", 1n], ["flushInterval", -1], ["maxPending", 0]]
  },
  "AuditTrail.layerReader": { call: AuditTrail.layerReader, wrong: [...ofTables, ["migrate", 1]] },
  "AuditTrail.openedWithin": {
    call: AuditTrail.openedWithin,
    wrong: [
      ["within", 0],
      ["limit", 0]
    ]
  },
  "AuditTrail.latest": {
    call: AuditTrail.latest,
    wrong: [
      ["limit", 0],
      ["before", "today"]
    ]
  },
  "AuditTrail.history": {
    call: (o) => AuditTrail.history("api", o),
    wrong: [
      ["limit", 0],
      ["before", {}],
      ["key", 7]
    ]
  },
  "AuditTrail.transitionsPerDay": { call: AuditTrail.transitionsPerDay, wrong: [["within", 0]] },
  "AuditTrail.longestOpenings": {
    call: AuditTrail.longestOpenings,
    wrong: [
      ["within", 0],
      ["limit", 0]
    ]
  },
  "AuditTrail.timeToRecover": {
    call: AuditTrail.timeToRecover,
    wrong: [
      ["within", 0],
      ["name", ""]
    ]
  },
  "AuditTrail.prune": {
    call: AuditTrail.prune,
    right: { olderThan: "1 day" },
    wrong: [
      ["olderThan", undefined],
      ["closedFor", 0],
      ["batch", 0]
    ]
  },
  "AuditTrail.layerPrune": {
    call: AuditTrail.layerPrune,
    right: { olderThan: "1 day" },
    wrong: [
      ["olderThan", undefined],
      ["closedFor", 0],
      ["batch", 0],
      ["every", 0]
    ]
  },
  "Snapshots.take": { call: Snapshots.take, wrong: [["process", ""]] },
  "Snapshots.layer": {
    call: Snapshots.layer,
    wrong: [
      ["process", ""],
      ["every", 0]
    ]
  },
  "Snapshots.series": {
    call: (o) => Snapshots.series("api", o),
    wrong: [
      ["within", 0],
      ["limit", 0]
    ]
  },
  "Operator.inspect": { call: (o) => Operator.inspect(store, "api", o), wrong: ofTarget },
  "Operator.isolate": { call: (o) => Operator.isolate(store, "api", o), wrong: [...ofActionFor, ["process", 7]] },
  "Operator.disable": { call: (o) => Operator.disable(store, "api", o), wrong: [...ofActionFor, ["process", 7]] },
  "Operator.open": { call: (o) => Operator.open(store, "api", o), wrong: [...ofActionFor, ["process", 7]] },
  "Operator.release": { call: (o) => Operator.release(store, "api", o), wrong: [...ofAction, ["process", 7]] },
  "Operator.close": { call: (o) => Operator.close(store, "api", o), wrong: [...ofAction, ["process", 7]] },
  "Operator.reset": { call: (o) => Operator.reset(store, "api", o), wrong: [...ofAction, ["process", 7]] },
  "Operator.importAll": {
    call: (o) => Operator.importAll(store, "", o),
    wrong: [
      ["reason", 7],
      ["actor", 7],
      ["process", 7],
      ["onProgress", 7]
    ]
  },
  "Simulator.load": {
    call: Simulator.load,
    right: { rate: 1, for: "1 second" },
    wrong: [
      ["rate", 0],
      ["for", "soon"],
      ["errors", 2],
      ["duration", "soon"],
      ["outages", {}],
      ["outages.0.for", [{ at: 0, for: 0 }]],
      ["seed", 0.5]
    ]
  },
  "Simulator.run": {
    call: (o) => Simulator.run({ calls: [], millis: 1, outages: [] }, { a: {} }, o),
    wrong: [
      ["timeout", 0],
      ["seed", "a"]
    ]
  },
  "Simulator.play": {
    call: Simulator.play,
    right: { server: { workers: 1, service: "10 millis" }, callers: { rate: 1 } },
    wrong: [
      ["server", 7],
      ["callers", 7],
      ["for", "soon"],
      ["window", 7],
      ["policy", 7],
      ["circuits", "key"],
      ["choose", "best"],
      ["bulkhead", 0],
      ["seed", 0.5]
    ]
  },
  "Simulator.compare": {
    call: (o) => Simulator.compare(Simulator.scenario("healthy"), o),
    wrong: [["seed", 0.5]]
  },
  "AiBreaker.layer": {
    call: (o) => AiBreaker.layer(Layer.empty, o),
    wrong: [
      ["name", ""],
      ["key", 7],
      ["policy", 7],
      ["timeout", 0],
      ["firstToken", "soon"],
      ["betweenTokens", 0],
      ["maxRetryAfter", 0]
    ]
  },
  "Dashboard.layer": {
    call: Dashboard.layer,
    right: { access: () => Effect.succeed({ see: true, steer: false }) },
    wrong: [
      ["path", "circuits"],
      ["access", true],
      ["links", { Metrics: "javascript:alert(1)" }]
    ]
  },
  "Dependency.make": {
    call: Dependency.make,
    right: { answer: 1, error: 2 },
    free: ["answer", "error"],
    wrong: [
      ["steps", "fail"],
      ["steps.0", ["x"]]
    ]
  },
  "CircuitTest.expectState": { call: (o) => CircuitTest.expectState("api", "Closed", o), wrong: ofTarget },
  "SharedStoreContract.cases": {
    call: (o) => SharedStoreContract.cases(MemoryStore.make, o),
    wrong: [
      ["announces", 1],
      ["patience", 0]
    ]
  },
  "SharedStoreContract.run": {
    call: (o) => SharedStoreContract.run(MemoryStore.make, o),
    wrong: [
      ["announces", 1],
      ["patience", 0]
    ]
  },
  "TestFleet.make": { call: (o) => TestFleet.make(1, o), wrong: ofFleet, free: ["policies"] },
  "TestFleet.start": { call: (o) => TestFleet.start(store, o), wrong: [...ofFleet, ["seed", 1]], free: ["policies"] },
  createBreaker: { call: (o) => createBreaker(fn, o), wrong: [...ofProtection, ...ofStores, ["name", ""]] },
  wrap: { call: (o) => wrap(fn, o), wrong: [...ofProtection, ...ofStores, ["name", ""]] },
  protect: {
    call: (o) => protect(o)(fn, { kind: "method", name: "find" }),
    wrong: [...ofProtection, ...ofStores, ["name", ""], ["manager", {}]]
  },
  createManager: {
    call: createManager,
    wrong: [...ofStores, ["defaults", 1], ["defaults.timeout", { timeout: 0 }], ["defaults.probes", { probes: 0 }]]
  },
  register: {
    call: (o) => manager.register("orders", fn, o),
    wrong: ofProtection
  },
  with: { call: (o) => breaker.with(o), wrong: ofCall },
  run: { call: (o) => breaker.run(fn, o), wrong: ofCall }
}

/** The one form of the message about options, and about each of several that are wrong. */
const one = String.raw`(?:[\w.]+: )?(?:expected .+, got .+|unknown field(?: \(did you mean \w+\?\))?, expected one of .+)`
const form = new RegExp(`^[A-Za-z]+(?:\\.[A-Za-z]+)?: ${one}(?:; ${one})*$`)

/** What a call throws, or what the promise that it returns is rejected with. An effect is not run. */
const refusal = async (call: () => unknown): Promise<string> => {
  try {
    const returned = call()
    if (returned instanceof Promise) await returned
  } catch (error) {
    assert.instanceOf(error, Error)
    assert.oneOf(error.name, ["RangeError", "ConfigurationError"])
    assert.match(error.message, form)
    assert.isBelow(error.message.length, 2_000)
    return error.message
  }
  return assert.fail("nothing was refused")
}

const operationOf = (name: string): string =>
  name.replace(/, .*/, "").replace("SharedStoreContract.run", "SharedStoreContract.cases")

describe.each(Object.entries(rows))("%s", (name, { call, free = [], right = {}, wrong }) => {
  const operation = operationOf(name)
  const top = (field: string) => field.split(".")[0] as string

  it.each([[null], [5], ["text"], [[]], [true]].map(([options]) => [options] as const))(
    "refuses %j as options",
    async (options) => {
      const message = await refusal(() => call(options))
      assert.match(message, new RegExp(`^${operation}: expected an object with \\w+(?:, \\w+)*, got `))
      assert.isTrue(message.endsWith(`, got ${JSON.stringify(options)}`), message)
    }
  )

  it("names a field that does not exist, and those that do", async () => {
    const message = await refusal(() => call({ ...right, qwertz: 1 }))
    assert.match(message, new RegExp(`^${operation}: qwertz: unknown field, expected one of \\w+(?:, \\w+)*$`))
    const known = message.slice(message.lastIndexOf("expected one of ") + "expected one of ".length).split(", ")
    // A new field therefore needs a wrong value in the table.
    assert.deepStrictEqual(new Set(known), new Set([...wrong.map(([field]) => top(field)), ...free]))
  })

  it.each([...new Set(wrong.map(([field]) => top(field)))])("names %s where it is misspelt", async (field) => {
    const misspelt = `${field}${field.at(-1)}`
    const message = await refusal(() => call({ ...right, [misspelt]: 1 }))
    // `probee` may also mean `probes`.
    const meant = field === "probe" ? "probes?" : field
    const says = `^${operation}: ${misspelt}: unknown field \\(did you mean ${meant}\\?\\), expected one of `
    assert.match(message.replace(/^(.*?: ).*?(?=\w+: unknown)/, "$1"), new RegExp(says))
  })

  it.each(wrong)("names %s where it is %o", async (path, value) => {
    const message = await refusal(() => call({ ...right, [top(path)]: value }))
    const says = path.endsWith("coolDown") ? "unknown field" : "expected "
    assert.isTrue(message.startsWith(`${operation}: ${path}: ${says}`), message)
  })

  it("reports all problems at once", async () => {
    const message = await refusal(() =>
      call({ ...right, ...Object.fromEntries(wrong.map(([f, v]) => [top(f), v])), q: 1 })
    )
    for (const [field] of wrong) assert.include(message, `${top(field)}`)
    assert.include(message, `${operation}: q: unknown field`)
  })
})

/** These check nothing: a trip is data that a policy decodes, and `Circuit` is pure. */
const data = [
  "Circuit.open",
  "Trip.custom",
  "Trip.failures",
  "Trip.failureRate",
  "Trip.slowRate",
  "Trip.stuck",
  "Trip.weighted"
]

it("the table has every function that takes options", () => {
  const found = publicModules
    .filter(({ name }) => !name.startsWith("promise/"))
    .flatMap(({ name, text }) =>
      withoutComments(text)
        .split(/^export const /m)
        .slice(1)
        .map((declaration) => declaration.split(/^(?:const|export|interface|type|class) /m)[0] as string)
        .filter((declaration) => /\boptions\??: /.test(declaration))
        .map((declaration) => `${name.split("/").at(-1)}.${/^\w+/.exec(declaration)?.[0]}`)
    )
  const table = new Set(Object.keys(rows).map((name) => name.replace(/, .*/, "")))
  assert.isAbove(found.length, 60)
  assert.deepStrictEqual(
    found.filter((name) => !table.has(name) && !data.includes(name)),
    []
  )
})

it("an invalid policy in a layer is the error of the layer", () => {
  const built = Layer.build(BreakerPolicy.layer({ default: { probes: 0 } }))
  const error = Effect.runSync(Effect.flip(Effect.scoped(built)))
  assert.strictEqual(error.message, "default.probes: expected a whole number of 1 or more, got 0")
})
