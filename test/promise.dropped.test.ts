import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Runs a script in a new process that can collect garbage, and returns its output. */
const print = async (script: string): Promise<ReadonlyArray<unknown>> => {
  const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", "--expose-gc"]
  const { stdout } = await promisify(execFile)(process.execPath, [...args, "--input-type=module", "--eval", script], {
    cwd: root,
    timeout: 120_000
  })
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown)
}

const setUp = `
  import { createBreaker, createManager } from "effect-fuse/promise"
  const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis))
  const until = async (holds) => {
    for (let i = 0; i < 400 && !holds(); i++) {
      // What \`deref\` returned is not collected in the same turn of the event loop.
      await pause(10)
      globalThis.gc()
      await pause(10)
    }
  }
  let checks = 0
  const check = () => {
    checks++
    throw new Error("down")
  }
  const options = { probe: { check, every: 20 }, cooldown: "1 hour" }
`

describe("an open breaker with a health check that a program drops", () => {
  it("is garbage collected, and its health checks stop", { timeout: 130_000 }, async () => {
    const [found] = await print(`${setUp}
      const dropped = []
      const fill = async () => {
        for (let i = 0; i < 5; i++) {
          const breaker = createBreaker(async () => i, { ...options, name: "b" + i })
          breaker.on("open", () => {})
          await breaker.execute()
          await breaker.open()
          dropped.push(new WeakRef(breaker))
        }
      }
      await fill()
      await pause(50)
      const ran = checks > 0
      await until(() => dropped.every((one) => one.deref() === undefined))
      let before
      await until(() => checks === before || ((before = checks), false))
      before = checks
      await pause(100)
      const left = dropped.filter((one) => one.deref() !== undefined).length
      console.log(JSON.stringify({ ran, left, more: checks - before }))
      process.exit(0)
    `)
    assert.deepStrictEqual(found, { ran: true, left: 0, more: 0 })
  })

  it("keeps running while the program references one breaker of its manager", { timeout: 130_000 }, async () => {
    const [found] = await print(`${setUp}
      const held = []
      const fill = async () => {
        const manager = createManager()
        const breaker = manager.register("a", async () => 1, options)
        await breaker.open()
        held.push(breaker)
        return new WeakRef(manager)
      }
      const manager = await fill()
      await until(() => manager.deref() === undefined)
      const before = checks
      await until(() => checks > before + 3)
      console.log(JSON.stringify({ goesOn: checks > before + 3, state: held[0].state }))
      await held[0].close()
      process.exit(0)
    `)
    assert.deepStrictEqual(found, { goesOn: true, state: "Open" })
  })
})

describe("a loop that calls an open circuit without a pause", () => {
  for (const [what, fallback] of [
    ["", ""],
    [", with a fallback", ", fallback: () => 0"]
  ]) {
    it(`does not starve timers${what}`, { timeout: 130_000 }, async () => {
      const [found] = await print(`${setUp}
        const breaker = createBreaker(async () => 1, { cooldown: "1 hour"${fallback} })
        await breaker.open()
        let ended = false
        setTimeout(() => { ended = true }, 10)
        for (let i = 0; i < 2_000_000 && !ended; i++) await breaker.execute().catch(() => {})
        console.log(JSON.stringify({ ended }))
        process.exit(0)
      `)
      assert.deepStrictEqual(found, { ended: true })
    })
  }
})
