/** A proxy between one worker and the store, which can delay, block or cut connections. */
import { connect, createServer, type Socket } from "node:net"

export type Way =
  | { readonly _tag: "Pass" }
  | { readonly _tag: "Delay"; readonly millis: number }
  /** No byte passes until the fault ends. */
  | { readonly _tag: "Hang" }
  /** All connections are closed, also new ones. */
  | { readonly _tag: "Cut" }

export interface Proxy {
  readonly port: number
  readonly set: (way: Way) => void
  readonly close: () => void
}

/** Passes bytes from one side to the other in order, each after its delay. */
class Lane {
  private readonly waiting: Array<{ readonly bytes: Buffer; readonly due: number }> = []
  private readonly to: Socket
  private readonly way: () => Way

  constructor(from: Socket, to: Socket, way: () => Way) {
    this.to = to
    this.way = way
    from.on("data", (bytes) => {
      const now = way()
      this.waiting.push({ bytes, due: performance.now() + (now._tag === "Delay" ? now.millis : 0) })
      this.pump()
    })
  }

  pump(): void {
    if (this.way()._tag === "Hang") return
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      const wait = next.due - performance.now()
      if (wait > 0) {
        setTimeout(() => this.pump(), wait)
        return
      }
      this.waiting.shift()
      if (this.to.writable) this.to.write(next.bytes)
    }
  }
}

export const makeProxy = async (upstream: number): Promise<Proxy> => {
  let way: Way = { _tag: "Pass" }
  const sockets = new Set<Socket>()
  const lanes = new Set<Lane>()
  const server = createServer((client) => {
    if (way._tag === "Cut") return void client.destroy()
    const store = connect(upstream, "127.0.0.1")
    const both = [client, store]
    const made = [new Lane(client, store, () => way), new Lane(store, client, () => way)]
    const end = () => {
      for (const socket of both) sockets.delete(socket.destroy())
      for (const lane of made) lanes.delete(lane)
    }
    for (const lane of made) lanes.add(lane)
    for (const socket of both) {
      sockets.add(socket.setNoDelay(true))
      socket.on("error", end).on("close", end)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    set: (next) => {
      way = next
      if (next._tag === "Cut") for (const socket of sockets) socket.destroy()
      else for (const lane of lanes) lane.pump()
    },
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}
