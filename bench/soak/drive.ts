/** Executes the faults of a plan, each at its time, and records when it began and ended. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Worker } from "./fleet.ts"
import { circuits, type Mood, now } from "./lines.ts"
import type { Fault, Planned, WayFault } from "./plan.ts"
import type { Way } from "./proxy.ts"
import type { Server } from "./server.ts"

/** A fault that happened. */
export interface Happened {
  readonly fault: Fault
  readonly from: number
  to: number
}

export interface Field {
  readonly server: Server
  readonly prefix: string
  readonly workers: ReadonlyArray<Worker>
  readonly happened: Array<Happened>
  /** Whether the soak is still running. If not, no fault may start anything. */
  readonly running: () => boolean
}

const ways = (who: number | "all", { workers }: Field, way: Way): void => {
  for (const { proxy } of workers.filter((worker) => who === "all" || worker.who === who)) proxy.set(way)
}

const wayFault = async (kind: WayFault, who: number | "all", millis: number, lasts: number, field: Field) => {
  ways(who, field, kind === "proxy delay" ? { _tag: "Delay", millis } : { _tag: kind === "proxy cut" ? "Cut" : "Hang" })
  await sleep(lasts)
  ways(who, field, { _tag: "Pass" })
}

const setMood = (fault: Fault & { readonly kind: "dependency" }, mood: Mood, { workers }: Field): void => {
  for (const worker of workers.filter(({ who }) => fault.who === "all" || fault.who === who)) {
    for (const c of fault.c) worker.tell({ _tag: "Mood", c, mood })
  }
}

/** Tries the workers in order, starts with number `from`, and returns the first live worker. After the last number, continues with 0. */
const liveWorker = (from: number, { workers }: Field): Worker | undefined =>
  [...workers.slice(from), ...workers.slice(0, from)].find(({ alive }) => alive)

const happen = async ({ fault, lasts }: Planned, field: Field): Promise<void> => {
  switch (fault.kind) {
    case "dependency":
      setMood(fault, fault.mood, field)
      await sleep(lasts)
      return setMood(fault, "works", field)
    case "worker killed":
    case "worker restarted": {
      const worker = field.workers[fault.who]
      await worker?.end(fault.kind === "worker killed" ? "SIGKILL" : "SIGTERM")
      await sleep(lasts)
      if (field.running()) worker?.start(field.prefix)
      return worker?.untilUp()
    }
    case "isolate":
      liveWorker(fault.who, field)?.tell({ _tag: "OperatorAction", c: fault.c, action: "isolate" })
      await sleep(lasts)
      return liveWorker(fault.releasedBy, field)?.tell({ _tag: "OperatorAction", c: fault.c, action: "release" })
    case "proxy delay":
    case "proxy cut":
    case "proxy hang":
      return wayFault(fault.kind, fault.who, fault.millis, lasts, field)
    default:
      return field.server.faults[fault.kind]?.(lasts, field.running)
  }
}

/** Runs all lanes concurrently. Returns when the last fault has ended. */
export const drive = async (plan: ReadonlyArray<Planned>, field: Field): Promise<void> => {
  const begin = now()
  await Promise.all(
    plan.map(async (planned) => {
      await sleep(Math.max(0, begin + planned.at - now()))
      if (!field.running()) return
      const one: Happened = { fault: planned.fault, from: now(), to: Infinity }
      field.happened.push(one)
      await happen(planned, field)
      one.to = now()
    })
  )
}

/** Ends all faults: every dependency works, and no circuit is isolated. */
export const heal = async (field: Field): Promise<void> => {
  ways("all", field, { _tag: "Pass" })
  for (const worker of field.workers) {
    for (const c of circuits) worker.tell({ _tag: "Mood", c, mood: "works" })
  }
  await sleep(4_000)
  for (const worker of field.workers) {
    for (const c of circuits) worker.tell({ _tag: "OperatorAction", c, action: "release" })
  }
}
