import { ConfigurationError, createBreaker, createManager, ShutdownError } from "effect-fuse/promise"
import { assert, describe, it } from "vitest"

const fn = async () => "ok"

describe("the circuits of a manager", () => {
  it("are exported as JSON, and imported by another one", async () => {
    const one = createManager()
    const users = one.register("users", fn, { cooldown: "1 hour" })
    await users.open()
    await users.isolate({ key: "eu", reason: "migration", actor: "ann" })
    await one.register("orders", fn).execute()
    const json = await one.exportAll()
    assert.strictEqual(JSON.parse(json).circuits.length, 2)
    await one.shutdown()

    const other = createBreaker(fn, { name: "users" })
    assert.strictEqual(await other.importAll(json), 2)
    assert.deepStrictEqual(
      [other.state, other.inspect("eu").state, other.inspect("us").state],
      ["Open", "Isolated", "Closed"]
    )
    assert.closeTo(other.metrics.retryAfter, 3_600_000, 60_000)
    assert.strictEqual(await other.exportAll().then((text) => JSON.parse(text).circuits.length), 2)
    await other.shutdown()
  })

  it.each(["", "{}", "no json", 7, null])(
    "are not imported from %j, which is refused and changes nothing",
    async (text) => {
      const manager = createManager()
      const users = manager.register("users", fn)
      const error = await manager.importAll(text as string).catch((error: unknown) => error)
      assert.instanceOf(error, ConfigurationError)
      assert.match(String(error), /importAll: /)
      assert.strictEqual(users.state, "Closed")
      await manager.shutdown()
    }
  )

  it("are neither exported nor imported after a shutdown", async () => {
    const empty = createManager()
    const manager = createManager()
    manager.register("users", fn)
    const json = await manager.exportAll()
    for (const owner of [empty, manager, createBreaker(fn, { name: "alone" })]) {
      await owner.shutdown()
      for (const [refused, message] of [
        [owner.exportAll(), /^exportAll: the circuits are gone after shutdown; call exportAll before shutdown$/],
        [owner.importAll(json), /^importAll: no circuits can be imported after shutdown; import them into a new /]
      ] as const) {
        const error = await refused.catch((error: unknown) => error)
        assert.instanceOf(error, ShutdownError)
        assert.match((error as Error).message, message)
      }
    }
  })
})

describe("the fleet's state of a circuit", () => {
  it("does not exist without a store that processes share", async () => {
    const breaker = createBreaker(fn, { name: "api" })
    await breaker.open()
    assert.isUndefined(await breaker.distributedState())
    assert.isUndefined(await breaker.distributedState("eu"))
    await breaker.shutdown()
    assert.instanceOf(await breaker.distributedState().catch((error: unknown) => error), ShutdownError)
  })

  it("rejects an invalid key", async () => {
    const breaker = createBreaker(fn, { name: "api" })
    for (const key of [7 as never, "x".repeat(513)]) {
      assert.instanceOf(await breaker.distributedState(key).catch((error: unknown) => error), ConfigurationError)
    }
    await breaker.shutdown()
  })
})
