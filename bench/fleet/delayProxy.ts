import { connect, createServer, type Socket } from "node:net"

export interface DelayProxy {
  readonly url: string
  /** How many milliseconds each later request is delayed. Answers are not delayed, so this is the additional time of a round trip. */
  delay: number
  readonly close: () => void
}

/** A proxy to a local port with an adjustable delay. */
export const delayProxy = (port: number): Promise<DelayProxy> =>
  new Promise((resolve) => {
    const sockets = new Set<Socket>()
    const server = createServer({ noDelay: true }, (client) => {
      const upstream = connect({ port, host: "127.0.0.1", noDelay: true })
      for (const [one, other] of [
        [client, upstream],
        [upstream, client]
      ] as const) {
        sockets.add(one)
        one.on("error", () => other.destroy())
        one.on("close", () => {
          sockets.delete(one)
          other.destroy()
        })
      }
      client.on("data", (data) => {
        if (proxy.delay === 0) upstream.write(data)
        else setTimeout(() => upstream.write(data), proxy.delay)
      })
      upstream.on("data", (data) => client.write(data))
    })
    const proxy: DelayProxy & { url: string } = {
      url: "",
      delay: 0,
      close: () => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
    }
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      proxy.url = `redis://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
      resolve(proxy)
    })
  })
