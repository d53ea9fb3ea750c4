/** Writes a policy of the playground as a program that uses the library. */
import type * as Trip from "../src/core/Trip.ts"
import type { Policy, World } from "./settings.ts"
import { chooseOf, duration, inputOf } from "./simulation.ts"

const tripCode = (trip: Trip.Input): string => {
  switch (trip._tag) {
    case "Consecutive":
      return `Trip.consecutive(${trip.failures})`
    case "FailureRate":
    case "SlowRate": {
      const { _tag, ...options } = trip
      return `Trip.${_tag === "SlowRate" ? "slowRate" : "failureRate"}(${code(options)})`
    }
    case "Any":
      return `Trip.any(${trip.trips.map(tripCode).join(", ")})`
    default:
      throw new Error(`the playground has no trip ${trip._tag}`)
  }
}

const isTrip = (value: object): value is Trip.Input => "_tag" in value

const code = (value: unknown): string => {
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  if (isTrip(value)) return tripCode(value)
  const fields = Object.entries(value).map(([name, one]) => `${name}: ${code(one)}`)
  return `{ ${fields.join(", ")} }`
}

/** Writes an object on one line. If the object is too long, writes each field on its own line. */
const lines = (value: object, indent: string): string => {
  const one = code(value)
  if (one.length + indent.length < 80) return one
  const fields = Object.entries(value).map(([name, field]) => `${indent}  ${name}: ${code(field)}`)
  return `{\n${fields.join(",\n")}\n${indent}}`
}

/** Returns the wrappers of a call. The innermost wrapper is first. */
const parts = ({ attempts, bulkhead, timeout }: Policy, breaker: ReadonlyArray<string>): ReadonlyArray<string> => [
  `Resilience.timeout(${JSON.stringify(duration(timeout))})`,
  ...breaker,
  ...(bulkhead === 0 ? [] : [`Resilience.bulkhead({ concurrency: ${bulkhead} })`]),
  ...(attempts === 1 ? [] : [`Resilience.retry({ times: ${attempts - 1} })`])
]

const piped = (first: string, steps: ReadonlyArray<string>): string =>
  `${first}.pipe(${steps.length === 1 ? steps[0] : `\n${steps.map((step) => `  ${step}`).join(",\n")}\n`})`

/** Writes the program. It sets only the fields that differ from the defaults of the library. */
export const codeOf = (policy: Policy, world: Pick<World, "replicas" | "shards">): string => {
  const input = inputOf(policy)
  const choose = input === undefined ? undefined : chooseOf(policy, world)
  const pooled = choose !== undefined
  const keyed = input !== undefined && !pooled && policy.circuits !== "name"
  const settings = input === undefined || Object.keys(input).length === 0 ? undefined : input
  const names = [
    ...(settings === undefined ? [] : ["BreakerPolicy"]),
    ...(input === undefined ? [] : ["BreakerStore"]),
    ...(input === undefined || pooled ? [] : ["CircuitBreaker"]),
    ...(pooled ? ["CircuitPool"] : []),
    "Resilience",
    ...(settings?.trip === undefined ? [] : ["Trip"])
  ]
  const servers = Array.from({ length: world.replicas }, (_, i) => `"server-${i + 1}"`).join(", ")
  const head = [
    `import { Effect } from "effect"`,
    `import { ${names.join(", ")} } from "effect-fuse"`,
    "",
    "// Replace this with your call.",
    keyed || pooled
      ? `const callApi = (server: string) => Effect.succeed("answer of " + server)`
      : `const callApi = Effect.succeed("answer")`,
    ...(settings === undefined
      ? []
      : [
          "",
          `export const Policies = BreakerPolicy.layer({\n  breakers: {\n    api: ${lines(settings, "    ")}\n  }\n})`
        ]),
    ""
  ]
  const layers = settings === undefined ? "BreakerStore.layerMemory" : "[BreakerStore.layerMemory, Policies]"
  const main = (call: string): ReadonlyArray<string> =>
    input === undefined ? [] : ["", `export const main = Effect.provide(${call}, ${layers})`]
  if (pooled) {
    const [timeout = "", ...outside] = parts(policy, [])
    const pool = `CircuitPool.call(servers, (server) => callApi(server).pipe(${timeout}))`
    return [
      ...head,
      `const servers = CircuitPool.make("api", {\n  members: [${servers}],\n  choose: "${choose}"\n})`,
      "",
      `export const call = ${outside.length === 0 ? pool : piped(pool, outside)}`,
      ...main("call")
    ].join("\n")
  }
  if (keyed) {
    const steps = parts(policy, [`CircuitBreaker.protect("api", { key: server })`])
    const call = piped("callApi(server)", steps)
    return [
      ...head,
      `export const call = (server: string) =>\n  ${call.replaceAll("\n", "\n  ")}`,
      ...main(`call("server-1")`)
    ].join("\n")
  }
  const steps = parts(policy, input === undefined ? [] : [`CircuitBreaker.protect("api")`])
  return [...head, `export const call = ${piped("callApi", steps)}`, ...main("call")].join("\n")
}
