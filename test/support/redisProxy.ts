import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

/** A wire to a server that can be slow, silent or cut, or lead to another server. */
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
  /** The connections that there are, or those that subscribe, are silent from now on and never end. New connections work. */
  readonly silence: (which?: "all" | "subscribers") => Effect.Effect<void>
  /** New connections go to another port of this machine; the connections that there are stay where they are. */
  readonly moveTo: (port: number) => Effect.Effect<void>
  /** How many connections were accepted, and how many of them are open. */
  readonly accepted: () => number
  readonly open: () => number
  /** All connections end. What was held back in them is lost. */
  readonly cut: Effect.Effect<void>
  /** As at first: no delay, and what was held back arrives now. */
  readonly mend: Effect.Effect<void>
}

export const redisProxy = (port: number): Effect.Effect<RedisProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    const wire = { millis: 0, refuses: false, onlyAnswers: false, open: Promise.resolve(), mend: () => {} }
    const lines = new Set<{ silent: boolean; subscribes: boolean }>()
    let target = port
    let accepted = 0

    const join = (from: Socket, to: Socket, answers: boolean, line: { silent: boolean; subscribes: boolean }): void => {
      sockets.add(from)
      let last = Promise.resolve()
      from.on("data", (data) => {
        if (!answers && /\b(?:SUBSCRIBE|LISTEN)\b/i.test(String(data))) line.subscribes = true
        if (line.silent) return
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
        lines.delete(line)
        to.destroy()
      })
    }
    const server = createServer((near) => {
      if (wire.refuses) {
        near.destroy()
        return
      }
      accepted++
      const far = connect(target, "127.0.0.1")
      const line = { silent: false, subscribes: false }
      lines.add(line)
      join(near, far, false, line)
      join(far, near, true, line)
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
      silence: (which = "all") =>
        Effect.sync(() => {
          for (const line of lines) if (which === "all" || line.subscribes) line.silent = true
        }),
      moveTo: (port) =>
        Effect.sync(() => {
          target = port
        }),
      accepted: () => accepted,
      open: () => lines.size,
      cut,
      mend
    }
  })

const closed = (server: ReturnType<typeof createServer>): Promise<void> =>
  new Promise((resolve) => server.close(() => resolve()))
