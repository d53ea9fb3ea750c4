import { type ChildProcess, execFile, spawn } from "node:child_process"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect, Exit, type Scope } from "effect"
import { endedWithTests, halted, hasExited } from "./programs.ts"
import { collectOutput, ends, ServerError, type User } from "./servers.ts"

/** A server that only one test uses, on a free port and in a temporary folder. */
export interface OwnServer {
  readonly port: number
  readonly url: string
  /** Ends the server and all connections at once, as a crash does. */
  readonly kill: Effect.Effect<void>
  /** Starts the server again on the same port, with its data. */
  readonly start: Effect.Effect<void>
  /** Until `resume`, the server neither answers nor closes its connections. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

type Run = readonly [program: string, args: ReadonlyArray<string>]

/** The properties of one kind of server. */
export interface Kind<Programs> {
  readonly title: string
  /** The server's programs, installed if necessary. */
  readonly programs: () => Promise<Programs>
  /** The user that runs all programs. It is decided after `programs`, because a package may create the user. */
  readonly user: () => User
  /** Creates the data of the server in an empty folder, `join(folder, "data")`. */
  readonly prepare?: (programs: Programs, folder: string) => Run
  readonly serve: (programs: Programs, folder: string, port: number) => Run
  readonly env?: Readonly<Record<string, string>>
  /** The line that the server prints when it accepts connections. */
  readonly ready: RegExp
  /** Ends the server at once, with all processes that it started. */
  readonly signal: keyof typeof started
  readonly url: (port: number) => string
}

const started = { SIGKILL: endedWithTests("SIGKILL"), SIGQUIT: endedWithTests("SIGQUIT") }

export const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** On a busy machine any step of a start may fail, so it is tried again after a pause. */
const attempts = 6
const pauseBefore = (attempt: number) => sleep(attempt === 0 ? 0 : 100 * 2 ** attempt)
const readyWithin = 60_000

const doesNot = (title: string, what: string, output: string): ServerError =>
  new ServerError("ServerFailed", `${title} ${what}. The end of its output:\n${output || "(nothing)"}`)

/** Runs a program to its end. Returns the end of its output if it failed. */
const fails = ([program, args]: Run, cwd: string, user: User): Promise<string | undefined> =>
  new Promise((resolve) => {
    execFile(program, args, { cwd, ...user }, (error, stdout, stderr) =>
      resolve(error === null ? undefined : ends(stdout, stderr) || error.message)
    )
  })

/** Starts the program once. Returns the process when it is ready, or the end of its output if it ended. */
const tryStart = <P>(kind: Kind<P>, [program, args]: Run, user: User): Promise<ChildProcess | string> =>
  new Promise((resolve) => {
    const env = { ...process.env, ...kind.env }
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env, ...user })
    started[kind.signal].add(child)
    let late = ""
    const tooLate = setTimeout(() => {
      late = `\n(It was not ready after ${readyWithin / 1_000} seconds.)`
      child.kill(kind.signal)
    }, readyWithin)
    const settle = (result: ChildProcess | string) => {
      clearTimeout(tooLate)
      resolve(result)
    }
    const output = collectOutput(child, () => {
      if (kind.ready.test(output.stdout) || kind.ready.test(output.stderr)) settle(child)
    })
    child.once("error", (error) => settle(error.message))
    child.once("exit", () => started[kind.signal].delete(child))
    child.once("close", () => settle(ends(output.stdout, output.stderr) + late))
  })

/** A server that lives as long as the scope. */
export const ownServer = <P>(kind: Kind<P>): Effect.Effect<OwnServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const programs = yield* promised(kind.programs)
    const user = kind.user()
    const folder = mkdtempSync(join(tmpdir(), `${kind.title.toLowerCase()}-`))
    let child: ChildProcess | undefined
    const kill = Effect.promise(async () => {
      const running = child
      if (running === undefined || hasExited(running)) return
      const over = new Promise<void>((resolve) => running.once("exit", () => resolve()))
      running.kill(kind.signal)
      await over
    })
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        kill,
        Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
      )
    )
    if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid)
    if (kind.prepare !== undefined) yield* prepared(kind.title, kind.prepare(programs, folder), folder, user)

    /** Tries one port after another. Returns the port on which the server is ready. */
    const startOn = (ports: Effect.Effect<number>, times: number, what: string): Effect.Effect<number> =>
      Effect.gen(function* () {
        let output = ""
        for (let i = 0; i < times; i++) {
          yield* Effect.promise(() => pauseBefore(i))
          const port = yield* ports
          const result = yield* Effect.promise(() => tryStart(kind, kind.serve(programs, folder, port), user))
          if (typeof result === "string") output = result
          else {
            child = result
            return port
          }
        }
        return yield* Effect.die(doesNot(kind.title, what, output))
      })

    const port = yield* startOn(freePort, attempts, "does not start")
    return {
      port,
      url: kind.url(port),
      kill,
      // The system may not have released the port yet.
      start: Effect.asVoid(startOn(Effect.succeed(port), attempts + 2, `does not start again on port ${port}`)),
      ...halted(() => child)
    }
  })

/** A promise as an effect. A rejection becomes a defect without a new stack, because the error of a server has the whole explanation. */
const promised = <A>(run: () => Promise<A>): Effect.Effect<A> =>
  Effect.flatten(
    Effect.promise(() =>
      run().then(
        (value) => Exit.succeed(value),
        (error) => Exit.die(error)
      )
    )
  )

const prepared = (title: string, run: Run, folder: string, user: User): Effect.Effect<void> =>
  Effect.gen(function* () {
    let output: string | undefined
    for (let i = 0; i < attempts; i++) {
      yield* Effect.promise(() => pauseBefore(i))
      output = yield* Effect.promise(() => fails(run, folder, user))
      if (output === undefined) return
      rmSync(join(folder, "data"), { recursive: true, force: true })
    }
    return yield* Effect.die(doesNot(title, "cannot make its data folder", output ?? ""))
  })
