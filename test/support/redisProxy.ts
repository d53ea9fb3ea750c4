import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

/** A wire to a server that can be slow, silent or cut. */
export interface RedisProxy {
  readonly url: string
  /** What is sent takes this long, each way. */
  readonly delay: (millis: number) => Effect.Effect<void>
  /** Nothing gets through any more, and no connection ends: the other side seems to think. New ones fare the same. */
  readonly hang: Effect.Effect<void>
  /** The same for what the server answers: what is sent arrives there. */
  readonly mute: Effect.Effect<void>
  /** Whoever connects from now on is sent away; the connections that there are stay. */
  readonly refuse: Effect.Effect<void>
  /** All connections end. What was held back in them is lost. */
  readonly cut: Effect.Effect<void>
  /** As at first: no delay, and what was held back arrives now. */
  readonly mend: Effect.Effect<void>
}

export const redisProxy = (port: number): Effect.Effect<RedisProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    const wire = { millis: 0, refuses: false, onlyAnswers: false, open: Promise.resolve(), mend: () => {} }

    const join = (from: Socket, to: Socket, answers: boolean): void => {
      sockets.add(from)
      let last = Promise.resolve()
      from.on("data", (data) => {
        const due = performance.now() + wire.millis
        last = last.then(async () => {
          const early = due - performance.now()
          if (early > 0) await new Promise((resolve) => setTimeout(resolve, early))
          if (answers || !wire.onlyAnswers) await wire.open
          if (!to.destroyed) to.write(data)
        })
      })
      from.on("error", () => {})
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
    }
    const server = createServer((near) => {
      if (wire.refuses) {
        near.destroy()
        return
      }
      const far = connect(port, "127.0.0.1")
      join(near, far, false)
      join(far, near, true)
    })
    const cut = Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
    })
    const hang = (onlyAnswers: boolean) =>
      Effect.sync(() => {
        wire.onlyAnswers = onlyAnswers
        wire.open = new Promise((resolve) => {
          wire.mend = resolve
        })
      })
    const mend = Effect.sync(() => {
      wire.millis = 0
      wire.refuses = false
      wire.mend()
    })
    yield* Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)))
    yield* Effect.addFinalizer(() => Effect.andThen(cut, () => Effect.promise(() => closed(server))))
    return {
      url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      delay: (millis) => Effect.sync(() => Object.assign(wire, { millis })),
      hang: hang(false),
      mute: hang(true),
      refuse: Effect.sync(() => Object.assign(wire, { refuses: true })),
      cut,
      mend
    }
  })

const closed = (server: ReturnType<typeof createServer>): Promise<void> =>
  new Promise((resolve) => server.close(() => resolve()))
