import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Circuit from "../core/Circuit.ts"
import { plural } from "../core/plural.ts"
import { printable } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import { toNumber } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import { circuitId, toBody } from "../store/codec.ts"
import type { Exchange, SharedStore } from "../store/SharedStore.ts"
import { processName } from "./actor.ts"
import { asked } from "./circuits.ts"
import { answer, CommandFailure, lasting, Painted } from "./messages.ts"
import {
  checkTables,
  isForbidden,
  type OpenedServer,
  type Server,
  storeOn,
  whereTrail,
  withDatabase,
  withServer
} from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import { paint, type Screen, type Style, screen } from "./table.ts"

/** The result of one check. A `warn` is possibly a problem; a `fail` must be fixed. */
interface Finding {
  readonly check: string
  readonly status: "ok" | "warn" | "fail"
  readonly said: string
  readonly advice?: string
}

const ok = (check: string, said: string): Finding => ({ check, status: "ok", said })
const warn = (check: string, said: string, advice: string): Finding => ({ check, status: "warn", said, advice })
const fail = (check: string, said: string, advice: string): Finding => ({ check, status: "fail", said, advice })

/** Turns the failure of a check into a finding, so that the other checks still run. */
const orElse = (
  asking: Effect.Effect<Finding, CommandFailure>,
  otherwise: (failure: CommandFailure) => Finding
): Effect.Effect<Finding> => Effect.catch(asking, (failure) => Effect.succeed(otherwise(failure)))

const noAdvice = "Ignore this if the other checks pass."
const noAnswerAdvice = "Find out why the server does not answer."

// ---- The server -----------------------------------------------------------------------------------------------------

const oldest = { Redis: 5, PostgreSQL: 12, SQLite: 3.35 } as const

const infoOf = (text: string, field: string): string | undefined =>
  new RegExp(`^${field}:(.*)$`, "m").exec(text)?.[1]?.trim()

const versionOf = (server: Server): Effect.Effect<string, unknown> => {
  if (server.kind === "Redis") {
    return Effect.map(server.redis.send<string>("INFO", "server"), (info) => {
      const valkey = infoOf(info, "valkey_version")
      return valkey === undefined ? (infoOf(info, "redis_version") ?? "") : `${valkey} (Valkey)`
    })
  }
  const { database } = server
  const { sql } = database
  const asking =
    database.dialect === "pg" ? sql`SELECT current_setting('server_version') AS v` : sql`SELECT sqlite_version() AS v`
  return Effect.map(database.rows(asking), ([row]) => String(row?.["v"] ?? ""))
}

const version = (opened: OpenedServer) => {
  const { kind } = opened.server
  const asking = Effect.map(opened.ask(versionOf(opened.server)), (text) => {
    const isOld = Number.parseFloat(text) < oldest[kind]
    return isOld
      ? fail("version", `${kind} ${text}`, `Upgrade: ${kind} ${oldest[kind]} and later are tested.`)
      : ok("version", `${kind} ${text}`)
  })
  return orElse(asking, ({ message }) => warn("version", `unknown: ${message}`, noAdvice))
}

/** The time of the server, in milliseconds since 1970. */
const clockOf = (server: Server): Effect.Effect<number, unknown> => {
  if (server.kind === "Redis") {
    return Effect.map(
      server.redis.send<ReadonlyArray<string>>("TIME"),
      ([seconds, micros]) => Number(seconds) * 1_000 + Number(micros) / 1_000
    )
  }
  const { database } = server
  return Effect.map(database.rows(database.sql`SELECT ${database.now} AS t`), ([row]) => toNumber(row?.["t"]))
}

/** The tolerated difference of clocks. It affects only times that people read. */
const tolerableMillis = 2_000

const clock = (opened: OpenedServer) => {
  const asking = Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const theirs = yield* opened.ask(clockOf(opened.server))
    const after = yield* Clock.currentTimeMillis
    const off = theirs < before ? before - theirs : Math.max(0, theirs - after)
    return off <= tolerableMillis
      ? ok("clock", `equal to this machine's, within ${lasting(Math.max(1, off + after - before))}`)
      : warn(
          "clock",
          `${lasting(off)} ${theirs < before ? "behind" : "ahead of"} this machine's`,
          "Circuits work: the store uses only its own clock. Times in logs and in the trail differ: set up time synchronization."
        )
  })
  return orElse(asking, ({ message }) => warn("clock", message, noAdvice))
}

// ---- The store ------------------------------------------------------------------------------------------------------

const rounds = 20
/** A slower median is a warning. Processes wait for a store much longer than this. */
const slowMillis = 100

const latency = (store: SharedStore, opened: OpenedServer, circuit: string) => {
  const one = Effect.gen(function* () {
    const before = performance.now()
    yield* asked(opened, () => store.load([circuit]))
    return performance.now() - before
  })
  const asking = Effect.map(Effect.replicateEffect(one, rounds), (all) => {
    const sorted = [...all].sort((a, b) => a - b)
    const median = sorted[Math.floor(rounds / 2)] ?? 0
    const said = `median ${median.toFixed(1)} ms, slowest ${(sorted.at(-1) ?? 0).toFixed(1)} ms of ${rounds} reads`
    return median <= slowMillis
      ? ok("latency", said)
      : warn("latency", said, "Calls do not wait for the store, but processes agree later. Use a store that is closer.")
  })
  return orElse(asking, ({ message }) => fail("latency", message, adviceFor(message, opened)))
}

const canAnnounce = ({ kind }: Server): boolean => kind !== "SQLite"

/** Checks that records, ballots and announcements work, with a circuit that no process uses. */
const writing = (store: SharedStore, opened: OpenedServer, circuit: string) => {
  const cause = { why: "Reset", detail: "doctor", actor: undefined, policy: undefined, process: processName } as const
  const asking = Effect.gen(function* () {
    const at = yield* Clock.currentTimeMillis
    const body = toBody({ ...Circuit.initial, since: at }, at, { ...cause, at })
    const heard = yield* Deferred.make<void>()
    const listening = Stream.runForEach(store.changes, (change) =>
      change.circuit === circuit ? Deferred.succeed(heard, undefined) : Effect.void
    )
    yield* Effect.forkScoped(Effect.ignoreCause(listening))
    const exchange = (request: Partial<Exchange>) =>
      asked(opened, () =>
        store.exchange({
          voter: `${processName}~${circuit}`,
          ttl: 0,
          notAfter: undefined,
          heard: 0,
          floor: 0,
          casts: [],
          swaps: [],
          ...request
        })
      )
    // A new subscription may miss the first announcement: it is repeated until one is received.
    let epoch = 0
    const announce = Effect.map(
      Effect.suspend(() => exchange({ swaps: [{ circuit, expectedEpoch: epoch, body, ttl: 10_000, listed: false }] })),
      (answer) => {
        const swap = answer._tag === "Done" ? answer.swaps[0] : undefined
        epoch = swap?.record?.epoch ?? epoch
        return swap?.swapped === true
      }
    )
    const wrote = yield* announce
    const cast = { circuit, epoch, box: "doctor", ballot: [1], ttl: 1_000, inquire: 0, roll: 0 }
    // The ballot counts only while its voter is live, so the doctor is a voter for a moment.
    const ballot = yield* exchange({ ttl: 1_000, casts: [cast] })
    yield* exchange({})
    const again = Effect.andThen(Effect.sleep("200 millis"), announce)
    const announced = canAnnounce(opened.server)
      ? yield* Effect.raceFirst(
          Effect.as(Deferred.await(heard), true),
          Effect.as(Effect.replicateEffect(again, 15, { discard: true }), false)
        )
      : undefined
    const tally = ballot._tag === "Done" ? ballot.casts[0]?.tally : undefined
    return { announced, sound: wrote && tally?.voters === 1 }
  })
  return Effect.map(Effect.result(Effect.scoped(asking)), (result): ReadonlyArray<Finding> => {
    if (result._tag === "Failure") {
      return [fail("records", result.failure.message, rights[opened.server.kind])]
    }
    const { announced, sound } = result.success
    return [
      sound
        ? ok("records", "wrote and read a record and a ballot")
        : fail(
            "records",
            "read back a value that differs from the one written",
            "Another program writes these keys. Use another --prefix."
          ),
      announced === undefined
        ? ok("announcements", `${opened.server.kind} has none: processes read changes at each pollInterval`)
        : announced
          ? ok("announcements", "received")
          : warn(
              "announcements",
              "no announcement within 3s",
              "Processes notice a change only at their next read. Allow SUBSCRIBE (Redis) or LISTEN (PostgreSQL)."
            )
    ]
  })
}

/** The advice for an error. If a right is denied, it lists the rights that the user needs. */
const adviceFor = (message: string, { server }: OpenedServer): string =>
  isForbidden(message) ? rights[server.kind] : noAnswerAdvice

const rights = {
  Redis:
    "The user needs EVAL, EVALSHA, SCRIPT and TIME, the keys that begin with the prefix, and SUBSCRIBE and PUBLISH on the channel that begins with it.",
  PostgreSQL: "The user needs SELECT, INSERT, UPDATE and DELETE on the tables.",
  SQLite: "Make the file and its folder writable."
} as const

const circuits = (store: SharedStore, opened: OpenedServer) => {
  const asking = Effect.map(
    asked(opened, () => Operator.list(store)),
    ({ circuits, processes }): Finding => {
      const unreadable = circuits.filter((one) => one._tag === "Unreadable").length
      const said = `${plural(circuits.length, "circuit")} not closed, ${plural(processes, "process", "processes")} alive`
      if (unreadable > 0) {
        return warn(
          "circuits",
          `${said}; ${plural(unreadable, "record")} that this version cannot read`,
          "They are not changed. A newer version or another program wrote them: use that version, or another --prefix."
        )
      }
      return processes === 0
        ? warn("circuits", said, "If processes are running, they use another store or another --prefix.")
        : ok("circuits", said)
    }
  )
  return orElse(asking, ({ message }) => fail("circuits", message, rights[opened.server.kind]))
}

/** Checks that Redis does not evict records when its memory is full. */
const memory = (opened: OpenedServer): Effect.Effect<ReadonlyArray<Finding>> => {
  const { server } = opened
  if (server.kind !== "Redis") return Effect.succeed([])
  const asking = Effect.map(opened.ask(server.redis.send<string>("INFO", "memory")), (info) => {
    const policy = infoOf(info, "maxmemory_policy") ?? "unknown"
    const limited = infoOf(info, "maxmemory") !== "0"
    return limited && policy.startsWith("allkeys")
      ? warn(
          "memory",
          `${policy} of ${infoOf(info, "maxmemory_human") ?? "?"}`,
          "A full Redis evicts circuits. Use noeviction, or a separate Redis."
        )
      : ok("memory", limited ? policy : "no limit")
  })
  return Effect.map(
    orElse(asking, ({ message }) => warn("memory", message, noAdvice)),
    (one) => [one]
  )
}

const trail = (settings: CommandSettings): Effect.Effect<ReadonlyArray<Finding>> =>
  withDatabase(settings, (opened) => Effect.as(checkTables(opened, migrations.ofTrail), opened.server.label)).pipe(
    Effect.match({
      onSuccess: (label) => [ok("trail", `all tables exist in ${label}`)],
      onFailure: ({ advice, message }) => [fail("trail", message, advice ?? noAnswerAdvice)]
    })
  )

/** All checks, in the order in which they depend on one another. */
const examine = (settings: CommandSettings): Effect.Effect<ReadonlyArray<Finding>, CommandFailure> =>
  withServer(settings, (opened) =>
    Effect.gen(function* () {
      const found: Array<Finding> = [ok("server", `${opened.server.label} answers`)]
      found.push(yield* version(opened), yield* clock(opened), ...(yield* memory(opened)))
      const made = yield* Effect.result(storeOn(opened, settings))
      if (made._tag === "Failure") {
        found.push(fail("store", made.failure.message, made.failure.advice ?? noAnswerAdvice))
        return found
      }
      const store = made.success
      const circuit = circuitId("effect-fuse doctor", globalThis.crypto.randomUUID())
      found.push(yield* latency(store, opened, circuit), ...(yield* writing(store, opened, circuit)))
      found.push(yield* circuits(store, opened))
      const other = yield* whereTrail(settings)
      return other === undefined ? found : [...found, ...(yield* trail(settings))]
    })
  )

const marks: Readonly<Record<Finding["status"], readonly [mark: string, style: Style]>> = {
  ok: ["ok  ", "green"],
  warn: ["WARN", "yellow"],
  fail: ["FAIL", "red"]
}

const toText = (found: ReadonlyArray<Finding>, on: Screen): string =>
  found
    .flatMap(({ advice, check, said, status }) => {
      const [mark, style] = marks[status]
      return [
        `${paint(mark, style, on)}  ${check.padEnd(13)}  ${printable(said)}`,
        ...(advice === undefined ? [] : [`                     ${printable(advice)}`])
      ]
    })
    .join("\n")

export const doctor = (_: object, settings: CommandSettings) =>
  Effect.gen(function* () {
    const found = yield* examine(settings)
    const failures = found.filter(({ status }) => status === "fail")
    const text = toText(found, yield* screen(true))
    yield* answer(settings.json, { ok: failures.length === 0, checks: found }, new Painted(text))
    if (failures.length > 0) {
      yield* new CommandFailure({ code: 3, message: `Failed checks: ${failures.map(({ check }) => check).join(", ")}` })
    }
  })
