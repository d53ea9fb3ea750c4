/** Starts the workers as processes, sends orders to them, kills them, and starts them again. */
import { type ChildProcess, fork } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Circuit } from "effect-fuse/core"
import { type Answer, circuits, type Mood, type Name, now, type Order } from "./lines.ts"
import type { Proxy } from "./proxy.ts"

const file = fileURLToPath(new URL("./worker.ts", import.meta.url))

/** One life of a worker. */
export interface Life {
  readonly voice: string
  readonly who: number
  readonly journal: string
  readonly from: number
  to: number
  /** Whether the process ended without an order. */
  unexpected: boolean
}

export class Worker {
  readonly who: number
  readonly proxy: Proxy
  readonly lives: Array<Life> = []
  readonly moods: Record<Name, Mood> = { orders: "works", search: "works" }
  private child: ChildProcess | undefined
  private up: Promise<void> = Promise.resolve()
  private readonly folder: string
  private readonly url: string

  constructor(who: number, proxy: Proxy, url: string, folder: string) {
    this.who = who
    this.proxy = proxy
    this.url = url
    this.folder = folder
  }

  get alive(): boolean {
    return this.child !== undefined
  }

  get voice(): string {
    return this.lives.at(-1)?.voice ?? ""
  }

  start(prefix: string): void {
    const voice = `w${this.who}.${this.lives.length + 1}`
    const life: Life = {
      voice,
      who: this.who,
      journal: join(this.folder, voice),
      from: now(),
      to: Infinity,
      unexpected: false
    }
    this.lives.push(life)
    const out = openSync(life.journal, "a")
    const child = fork(file, [voice, this.url, prefix], {
      stdio: ["ignore", out, "inherit", "ipc"],
      execArgv: [...process.execArgv, "--expose-gc"]
    })
    closeSync(out)
    this.child = child
    child.once("exit", () => {
      life.unexpected = this.child === child
      life.to = now()
      if (this.child === child) this.child = undefined
    })
    this.up = new Promise((resolve) => {
      child.once("exit", () => resolve())
      child.on("message", (answer: Answer) => {
        if (answer._tag !== "Up") return
        for (const c of circuits) this.tell({ _tag: "Mood", c, mood: this.moods[c] })
        resolve()
      })
    })
  }

  untilUp(): Promise<void> {
    return this.up
  }

  tell(order: Order): void {
    if (order._tag === "Mood") this.moods[order.c] = order.mood
    if (this.child?.connected === true) this.child.send(order)
  }

  async states(): Promise<Readonly<Record<Name, Circuit.State>> | undefined> {
    const { child } = this
    if (child === undefined) return undefined
    return new Promise((resolve) => {
      const hear = (answer: Answer) => {
        if (answer._tag === "States") end(answer.states)
      }
      const patience = setTimeout(() => end(undefined), 1_000)
      const end = (states: Readonly<Record<Name, Circuit.State>> | undefined) => {
        clearTimeout(patience)
        child.off("message", hear)
        resolve(states)
      }
      child.on("message", hear)
      this.tell({ _tag: "States" })
    })
  }

  /** Kills the process, or asks it to shut down and kills it if that takes too long. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const { child } = this
    if (child === undefined) return
    this.child = undefined
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    child.kill(signal)
    const force = setTimeout(() => child.kill("SIGKILL"), 5_000)
    await exited
    clearTimeout(force)
  }
}
