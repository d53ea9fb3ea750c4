/**
 * A soak test: processes share circuits through one store while faults happen. Afterwards, it checks the promises of the library on
 * the journals of the processes.
 *
 *     npm run soak -- [--minutes 1] [--processes 4] [--seed n] [--store redis|postgres] [--keep]
 *     npm run soak -- --again <folder>     checks a kept folder again
 *
 * The same seed gives the same faults, but not the same calls during them. The exit code is 1 if a promise was
 * broken.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import * as calls from "./soak/checks/calls.ts"
import type { Check } from "./soak/checks/check.ts"
import * as ending from "./soak/checks/ending.ts"
import { isolation } from "./soak/checks/isolation.ts"
import * as moves from "./soak/checks/moves.ts"
import * as probes from "./soak/checks/probes.ts"
import * as records from "./soak/checks/records.ts"
import { drive, type Field, heal } from "./soak/drive.ts"
import { Worker } from "./soak/fleet.ts"
import { type History, load, read, save } from "./soak/history.ts"
import { now } from "./soak/lines.ts"
import type { Record as Heard } from "./soak/observer.ts"
import { draw, type StoreFault } from "./soak/plan.ts"
import { postgres } from "./soak/postgres.ts"
import { makeProxy } from "./soak/proxy.ts"
import { fromSeed } from "./soak/random.ts"
import { notWell } from "./soak/recovery.ts"
import { redis } from "./soak/redis.ts"
import { table, verdict } from "./soak/report.ts"
import type { MakeServer, Server } from "./soak/server.ts"

const checks: ReadonlyArray<Check> = [
  calls.results,
  calls.promptness,
  calls.ends,
  calls.defects,
  moves.edges,
  moves.openings,
  moves.shortened,
  moves.counted,
  records.chain,
  records.counted,
  records.kept,
  probes.fleet,
  probes.own,
  isolation,
  ending.heap,
  ending.recovery
]

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    processes: { type: "string", default: "4" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
    store: { type: "string", default: "redis" },
    keep: { type: "boolean", default: false },
    again: { type: "string" }
  }
})
const [minutes, processes, seed] = [Number(values.minutes), Number(values.processes), Number(values.seed)]

const prefix = "soak"

const stores: Readonly<Record<string, MakeServer>> = { redis, postgres }
const makeServer = stores[values.store]
if (makeServer === undefined) throw new Error(`there is no store ${values.store}: ${Object.keys(stores).join(", ")}`)

const makeWorkers = ({ port, urlBy }: Server, folder: string) =>
  Effect.forEach(
    Array.from({ length: processes }, (_, who) => who),
    (who) =>
      Effect.acquireRelease(
        Effect.map(
          Effect.promise(() => makeProxy(port)),
          (proxy) => new Worker(who, proxy, urlBy(proxy.port), folder)
        ),
        (worker) => Effect.promise(() => worker.end("SIGKILL").then(() => worker.proxy.close()))
      )
  )

const run = (folder: string) =>
  Effect.gen(function* () {
    const server = yield* makeServer(prefix)
    const heard: Array<Heard> = []
    yield* Effect.forkScoped(server.observe(heard))
    const workers = yield* makeWorkers(server, folder)
    let running = true
    const field: Field = { server, prefix, workers, happened: [], running: () => running }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        running = false
      })
    )
    yield* Effect.promise(async () => {
      for (const worker of workers) worker.start(prefix)
      await Promise.all(workers.map((worker) => worker.untilUp()))
      await drive(draw(fromSeed(seed), minutes, processes, Object.keys(server.faults) as Array<StoreFault>), field)
      await heal(field)
    })
    const left = yield* Effect.promise(() => notWell(field))
    yield* Effect.promise(() => Promise.all(workers.map((worker) => worker.end("SIGTERM"))))
    const history: History = {
      lives: workers.flatMap(({ lives }) => lives.map(read)),
      happened: field.happened,
      records: heard,
      wallToMonotonic: now() - Date.now(),
      notWell: left
    }
    return history
  })

/** Prints what happened and which promises were broken. Returns whether all were kept. */
const report = (history: History) =>
  Effect.gen(function* () {
    yield* Console.log(table(history))
    const found = checks.map((check) => ({ check, broken: check.find(history) }))
    for (const { broken, check } of found) yield* Console.log(verdict(check, broken))
    return found.every(({ broken }) => broken.length === 0)
  })

const soak = Effect.gen(function* () {
  let keep = false
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-fuse-soak-"))),
    (folder) => Effect.sync(() => keep || rmSync(folder, { recursive: true, force: true }))
  )
  yield* Console.log(`${processes} processes for ${minutes} min on ${values.store}, seed ${seed}`)
  const history = yield* Effect.scoped(run(folder))
  const held = yield* report(history)
  keep = values.keep || !held
  if (keep) {
    save(folder, history)
    yield* Console.log(`kept in ${folder}`)
  }
  if (!held)
    yield* Console.log(
      `again with: npm run soak -- --minutes ${minutes} --processes ${processes} --store ${values.store} --seed ${seed}`
    )
  return held
})

const { again } = values
const program = Effect.map(
  again === undefined ? Effect.scoped(soak) : Effect.suspend(() => report(load(again))),
  (held) => {
    process.exitCode = held ? 0 : 1
  }
)

// Closing the terminal ends the program as Ctrl-C does.
process.once("SIGHUP", () => process.kill(process.pid, "SIGTERM"))

NodeRuntime.runMain(program)
