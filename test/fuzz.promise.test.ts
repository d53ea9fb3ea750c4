import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { BreakerError, ConfigurationError, createBreaker, createManager, trip, wrap } from "effect-fuse/promise"
import { printable } from "../src/core/printable.ts"
import { anything, either, name, objectOf, oneOf, runs, text, unprintable } from "./support/garbage.ts"

// JavaScript code can pass any value. For an invalid value, the error must name the option.

const nested = (fields: ReadonlyArray<string>) => either(anything, objectOf(fields))
const trips = either(
  oneOf<unknown>([
    trip.consecutive(2),
    trip.any(),
    trip.any(trip.consecutive(-1)),
    trip.custom("", (() => 1) as never),
    { _tag: "Consecutive" }
  ]),
  Arbitrary.map(
    Arbitrary.all([
      oneOf(["Consecutive", "FailureRate", "Any", "Custom", "Stuck", "x"]),
      objectOf(["failures", "trips", "threshold", "over"])
    ]),
    ([_tag, more]) => ({ ...more, _tag })
  )
)
/** Of each field what it may have wrong inside, too. */
const values: Readonly<Record<string, Arbitrary.Arbitrary<unknown>>> = {
  trip: either(trips, anything),
  cooldown: nested(["exponential", "factor", "jittered"]),
  probe: nested(["check", "every"]),
  fleet: nested(["suspectAfter", "quorum", "hold", "observation"]),
  retry: nested(["times", "minDelay", "maxDelay", "jitter", "while", "waitForCircuit"]),
  bulkhead: nested(["concurrency", "queue"]),
  redis: either(
    oneOf<unknown>(["redis://u:s3cret@127.0.0.1:1", "http://u:s3cret@h", "redis:s3cret"]),
    nested(["url", "prefix", "process"])
  ),
  dependsOn: either(Arbitrary.array(either(anything, text), { maxLength: 2 }), anything),
  defaults: nested(["cooldown", "timeout", "fallback", "retry", "name"])
}
const plain = [
  "slowCall",
  "maxCooldown",
  "probes",
  "successesToClose",
  "failuresToReopen",
  "probeTimeout",
  "ramp",
  "limit",
  "mode",
  "enabled",
  "span",
  "timeout"
]
const others = [
  "fallback",
  "isFailure",
  "isIgnored",
  "name",
  "maxCircuits",
  "log",
  "\u001b[31m\n",
  "__proto__",
  "x\u202e"
]
const field = oneOf([...Object.keys(values), ...plain, ...others])
const fieldAndValue = Arbitrary.flatMap(field, (field) =>
  Arbitrary.map(
    (Object.hasOwn(values, field) ? values[field] : undefined) ?? anything,
    (value) => [field, value] as const
  )
)

const ok = async () => "ok"
const run = (body: () => Promise<void>) => Effect.promise(body)

/** Runs `body`. Returns the message of its error, if any. The error must be about options, and its message must have one line. */
const thrown = async (body: () => unknown): Promise<string | undefined> => {
  try {
    await body()
    return undefined
  } catch (error) {
    assert.instanceOf(error, ConfigurationError)
    const { code, message } = error as ConfigurationError
    assert.strictEqual(code, "INVALID_OPTIONS")
    assert.notMatch(message, unprintable)
    assert.notInclude(message, "s3cret")
    return message
  }
}

describe("Any option of a breaker", () => {
  it.live.prop(
    "makes a breaker that works, or causes an error that names the option",
    [fieldAndValue, oneOf(["createBreaker", "register", "createManager", "wrap"] as const)],
    ([[field, value], how]) =>
      run(async () => {
        const options = Object.fromEntries([
          ["name", "api"],
          [field, value]
        ]) as never
        const made: { shutdown: () => Promise<void>; execute?: () => Promise<unknown> } = { shutdown: async () => {} }
        const message = await thrown(() => {
          switch (how) {
            case "createBreaker":
              return Object.assign(made, createBreaker(ok, options))
            case "createManager":
              return Object.assign(made, createManager(Object.fromEntries([[field, value]]) as never))
            case "wrap":
              return Object.assign(made, { execute: wrap(ok, options) })
            default: {
              const manager = createManager()
              made.shutdown = manager.shutdown
              return Object.assign(made, {
                execute: manager.register("api", ok, Object.fromEntries([[field, value]]) as never).execute
              })
            }
          }
        })
        if (message !== undefined) {
          assert.isTrue(message.startsWith(`${how}: `), message)
          return assert.include(message, printable(field))
        }
        try {
          if (field !== "redis") assert.strictEqual((await made.execute?.()) ?? "ok", "ok")
        } catch (error) {
          assert.isTrue(error instanceof BreakerError, String(error))
        }
        await made.shutdown()
      }),
    runs("options", 300)
  )
})

describe("Any request to a breaker", () => {
  const manager = createManager()
  const breaker = manager.register("api", ok)
  const how = nested(["key", "signal", "reason", "actor", "for"])
  it.live.prop(
    "succeeds, or fails with an error that names the problem",
    [how, anything, name],
    ([options, value, name]) =>
      run(async () => {
        const actions = ["isolate", "release", "disable", "open", "close", "reset"] as const
        const asked: ReadonlyArray<() => unknown> = [
          ...actions.map((action) => () => breaker[action](options as never)),
          () => breaker.with(options as never),
          () => breaker.inspect(value as never),
          () => breaker.on(value as never, () => {}),
          () => breaker.on("open", value as never)(),
          () => manager.get(value as never),
          () => manager.register(value as never, ok),
          () => manager.register("api", ok),
          () => manager.register(name, value as never),
          () => createBreaker(value as never, { name }),
          () => manager.aggregateMetrics()
        ]
        for (const one of asked) await thrown(one)
        await breaker.reset()
      }),
    runs("asked", 150)
  )

  it.live.prop(
    "is refused on one line, whatever the breaker is called",
    [name],
    ([name]) =>
      run(async () => {
        const own = createManager({ defaults: { timeout: 1 } })
        const slow = own.register(name, () => new Promise(() => {}))
        const errors: Array<unknown> = []
        const refused = (call: () => unknown) =>
          Promise.resolve()
            .then(call)
            .catch((error: unknown) => errors.push(error))
        await refused(() => own.register(name, ok))
        await refused(() => slow.execute())
        await slow.isolate({ reason: name, actor: name })
        await refused(() => slow.execute())
        await own.shutdown()
        await refused(() => slow.execute())
        assert.strictEqual(errors.length, 4)
        for (const error of errors) {
          assert.isTrue(error instanceof BreakerError)
          assert.notMatch((error as Error).message, unprintable)
        }
      }),
    runs("refused", 100)
  )
})
