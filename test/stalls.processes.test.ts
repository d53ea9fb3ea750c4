import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { afterEach, assert, describe, it } from "@effect/vitest"
import type { Report, Setup } from "./support/stallWorker.ts"

const worker = fileURLToPath(new URL("./support/stallWorker.ts", import.meta.url))

/** The calls of each kind; the kinds; and the time that a call may take. */
const calls = 10
const kinds = 5
const timeoutMillis = 4_000
/** Longer than the calls may take. */
const stallMillis = timeoutMillis + 1_000

const cleanUp: Array<() => unknown> = []
afterEach(async () => {
  for (const one of cleanUp.splice(0)) await one()
})

const wait = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const until = async (fact: () => boolean): Promise<void> => {
  for (let i = 0; !fact(); i++) {
    if (i > 3_000) throw new Error("it did not happen within 30 seconds")
    await wait(10)
  }
}

/** Whether a process is stopped. Only Linux tells. */
const isStopped = ({ pid }: ChildProcess): boolean => {
  if (process.platform !== "linux") return true
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.startsWith("T") ?? false
}

/** A server that answers when it is told to. */
const start = async () => {
  const held: Array<() => void> = []
  const answer = (response: ServerResponse, size: number) => () => response.end(Buffer.alloc(size, "x"))
  const server = createServer((request, response) => {
    const size = Number(request.url?.slice(1))
    if (Number.isNaN(size)) response.end("warm")
    else held.push(answer(response, size))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  cleanUp.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, held }
}

/** Makes calls in another process that stalls until all of them are due, although their answers have arrived. */
const stalled = async (stall: (child: ChildProcess) => Promise<void>): Promise<Readonly<Record<string, Report>>> => {
  const { held, url } = await start()
  const setup: Setup = { url, calls, timeoutMillis }
  const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", worker]
  const child = spawn(process.execPath, [...args, JSON.stringify(setup)], { stdio: ["pipe", "pipe", "inherit"] })
  cleanUp.push(() => child.kill("SIGKILL"))
  // The process may log the stall before it prints its report.
  const report = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("{") && resolve(line))
  })
  await until(() => held.length === calls * kinds)
  const over = stall(child)
  await wait(100)
  for (const answer of held) answer()
  await over
  return JSON.parse(await report)
}

const ways: Readonly<Record<string, (child: ChildProcess) => Promise<void>>> = {
  "is stopped (SIGSTOP)": async (child) => {
    child.kill("SIGSTOP")
    await until(() => isStopped(child))
    await wait(stallMillis)
    child.kill("SIGCONT")
  },
  "has a blocked event loop": async (child) => {
    child.stdin?.write(`${stallMillis}\n`)
  }
}

describe("Calls that become due, although their answers have arrived, while their process", () => {
  for (const [way, stall] of Object.entries(ways)) {
    it(way, async () => {
      const reports = await stalled(stall)
      assert.strictEqual(Object.keys(reports).length, kinds)
      for (const [kind, { failures, state }] of Object.entries(reports)) {
        assert.deepStrictEqual({ failures, state }, { failures: 0, state: "Closed" }, kind)
      }
      // Timeouts of the library let the answers be read.
      for (const kind of ["createBreaker, small", "Resilience.standard"]) {
        assert.deepStrictEqual(reports[kind]?.ends, { Success: calls }, kind)
      }
      // It does not control these two, and so ignores what they make of the answers.
      for (const kind of ["Effect.timeout", "AbortSignal.timeout"])
        assert.strictEqual(reports[kind]?.ignored, calls, kind)
    })
  }
})
