import { Effect, type Scope } from "effect"
import { freePort, type OwnServer } from "./ownServer.ts"
import { connection, send, until } from "./redisFleet.ts"
import { inMemory, ofCluster, startRedis } from "./redisServer.ts"

export interface Cluster {
  /** Three masters. */
  readonly masters: ReadonlyArray<OwnServer>
  /** A replica of each master. */
  readonly replicas: ReadonlyArray<OwnServer>
  readonly addresses: ReadonlyArray<string>
}

/** A Redis Cluster: three masters that share all slots, with a replica each. */
export const redisCluster: Effect.Effect<Cluster, never, Scope.Scope> = Effect.gen(function* () {
  const node = Effect.flatMap(freePort, (bus) =>
    startRedis({
      options: [
        ...inMemory,
        ...ofCluster(bus),
        ...["--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"]
      ]
    }).pipe(Effect.map((server) => ({ server, bus })))
  )
  const nodes = yield* Effect.all(Array.from({ length: 6 }, () => node))
  const admins = yield* Effect.forEach(nodes, ({ server }) => connection(server.url))
  const [first] = admins
  if (first === undefined) throw new Error("no node")
  for (const { bus, server } of nodes.slice(1)) yield* send(first, `CLUSTER MEET 127.0.0.1 ${server.port} ${bus}`)
  const slots = ["0 5460", "5461 10922", "10923 16383"]
  for (const [place, range] of slots.entries()) {
    const admin = admins[place]
    if (admin !== undefined) yield* send(admin, `CLUSTER ADDSLOTSRANGE ${range}`)
  }
  const knowAll = Effect.forEach(admins, (admin) =>
    Effect.map(send<string>(admin, "CLUSTER INFO"), (text) => /cluster_known_nodes:6/.test(text))
  )
  yield* until(
    "all nodes know one another",
    Effect.map(knowAll, (all) => all.every((one) => one))
  )
  for (const place of [0, 1, 2]) {
    const [master, replica] = [admins[place], admins[place + 3]]
    if (master === undefined || replica === undefined) continue
    const id = yield* send<string>(master, "CLUSTER MYID")
    yield* until(
      "the replica replicates",
      Effect.catchCause(Effect.as(send(replica, `CLUSTER REPLICATE ${id}`), true), () => Effect.succeed(false))
    )
  }
  const isServed = Effect.forEach(admins, (admin) =>
    Effect.map(send<string>(admin, "CLUSTER INFO"), (text) => /cluster_state:ok/.test(text))
  )
  const areLinked = Effect.forEach(admins.slice(3), (admin) =>
    Effect.map(send<string>(admin, "INFO replication"), (text) => /master_link_status:up/.test(text))
  )
  yield* until(
    "the cluster serves",
    Effect.map(Effect.all([isServed, areLinked]), (all) => all.flat().every((one) => one))
  )
  const servers = nodes.map(({ server }) => server)
  return {
    masters: servers.slice(0, 3),
    replicas: servers.slice(3),
    addresses: servers.map(({ port }) => `127.0.0.1:${port}`)
  }
})

export interface Guarded {
  readonly master: OwnServer
  readonly replica: OwnServer
  readonly sentinels: ReadonlyArray<{ readonly host: string; readonly port: number }>
}

/** A master with a replica, and three sentinels that agree on a failover. The name of the master is `mymaster`. */
export const redisSentinel: Effect.Effect<Guarded, never, Scope.Scope> = Effect.gen(function* () {
  const master = yield* startRedis({ options: inMemory })
  const replica = yield* startRedis({ options: [...inMemory, "--replicaof", "127.0.0.1", String(master.port)] })
  const config = [
    `sentinel monitor mymaster 127.0.0.1 ${master.port} 2`,
    "sentinel down-after-milliseconds mymaster 1000",
    "sentinel failover-timeout mymaster 10000",
    "sentinel parallel-syncs mymaster 1"
  ].join("\n")
  const guards = yield* Effect.all(
    Array.from({ length: 3 }, () => startRedis({ options: ["--sentinel"], config, ready: /\+monitor master/ }))
  )
  const admins = yield* Effect.forEach(guards, ({ url }) => connection(url))
  yield* until(
    "the sentinels know one another and the replica",
    Effect.map(
      Effect.forEach(admins, (admin) => send<string>(admin, "INFO sentinel")),
      (all) => all.every((text) => /slaves=1,sentinels=3/.test(text))
    )
  )
  return { master, replica, sentinels: guards.map(({ port }) => ({ host: "127.0.0.1", port })) }
})
