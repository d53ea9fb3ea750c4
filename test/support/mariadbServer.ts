import { join } from "node:path"
import type { Effect, Scope } from "effect"
import { type OwnServer, ownServer } from "./ownServer.ts"
import { programsOf, userOf } from "./servers.ts"

/** A MariaDB of the test's own. */
export type MariadbServer = OwnServer

/** Small, and with the settings of nobody: texts are latin1 where nothing else is said. */
const settings = (folder: string) => [
  "--no-defaults",
  `--datadir=${join(folder, "data")}`,
  // When a server starts, it deletes all temporary tables in this folder, even the tables of other servers.
  `--tmpdir=${folder}`,
  "--innodb-log-file-size=8M",
  "--innodb-buffer-pool-size=32M",
  // What was committed is there after a crash of the program.
  "--innodb-flush-log-at-trx-commit=2",
  "--innodb-flush-method=nosync"
]

/** A server that lives as long as the scope. */
export const mariadbServer: Effect.Effect<MariadbServer, never, Scope.Scope> = ownServer({
  title: "MariaDB",
  programs: () => programsOf("mariadb"),
  user: () => userOf("mariadb"),
  prepare: ({ installer }, folder) => [
    installer,
    [...settings(folder), "--auth-root-authentication-method=normal", "--skip-test-db"]
  ],
  serve: ({ mariadbd }, folder, port) => [
    mariadbd,
    [
      ...settings(folder),
      `--port=${port}`,
      `--socket=${join(folder, "socket")}`,
      `--pid-file=${join(folder, "pid")}`,
      "--bind-address=127.0.0.1",
      "--skip-name-resolve",
      "--max-connections=200"
    ]
  ],
  // The time zone of a place where hours come twice.
  env: { TZ: "Europe/Berlin" },
  ready: /ready for connections/,
  signal: "SIGKILL",
  url: (port) => `mysql://root@127.0.0.1:${port}/`
})
