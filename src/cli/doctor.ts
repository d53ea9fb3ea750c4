import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Circuit from "../core/Circuit.ts"
import { plural } from "../core/plural.ts"
import { printable } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import * as migrations from "../sql/migrations.ts"
import { circuitId, toBody } from "../store/codec.ts"
import type { Exchange, SharedStore } from "../store/SharedStore.ts"
import { processName } from "./actor.ts"
import { asked } from "./circuits.ts"
import { checkTables } from "./databaseServer.ts"
import { type Finding, fail, noAdvice, ok, orElse, warn } from "./findings.ts"
import { answer, CommandFailure, lasting, Painted } from "./messages.ts"
import { whereTrail, withDatabase, withServer } from "./opening.ts"
import { isForbidden, type OpenedServer, storeOn } from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import { paint, type Screen, type Style, screen } from "./table.ts"

const noAnswerAdvice = "Find out why the server does not answer."

// ---- The server -----------------------------------------------------------------------------------------------------

/** The tolerated difference of clocks. It affects only times that people read. */
const tolerableMillis = 2_000

const clock = ({ ask, server }: OpenedServer) => {
  const asking = Effect.map(ask(server.clockLead), ({ atLeast, atMost }) => {
    const off = Math.max(0, atLeast, -atMost)
    if (off > tolerableMillis) {
      return warn("clock", `${lasting(off)} ${atLeast > 0 ? "ahead of" : "behind"} this machine's`, server.clockAdvice)
    }
    return atMost - atLeast === Infinity
      ? warn("clock", "unknown: the answers have no time", noAdvice)
      : ok("clock", `equal to this machine's, within ${lasting(Math.max(1, off + atMost - atLeast))}`)
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
  return orElse(asking, (failure) => fail("latency", failure.message, adviceFor(failure, opened)))
}

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
    const announced = opened.server.announces
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
      return [fail("records", result.failure.message, adviceFor(result.failure, opened, opened.server.rights))]
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

/** The advice for a failure. If a right is denied, it lists the rights that the user needs. */
const adviceFor = (
  { advice, message }: CommandFailure,
  { server }: OpenedServer,
  otherwise = noAnswerAdvice
): string => (isForbidden(message) ? server.rights : (advice ?? otherwise))

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
  return orElse(asking, (failure) =>
    fail("circuits", failure.message, adviceFor(failure, opened, opened.server.rights))
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
      found.push(...(yield* opened.server.checks(opened.ask)), yield* clock(opened))
      const made = yield* Effect.result(storeOn(opened))
      if (made._tag === "Failure") {
        found.push(fail("store", made.failure.message, adviceFor(made.failure, opened)))
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
