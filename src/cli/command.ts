import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import {
  actorFlag,
  allFlag,
  fileFlag,
  hostFlag,
  keysFlag,
  limitFlag,
  linkFlag,
  newFlag,
  outageFlag,
  patternFlag,
  portFlag,
  reasonFlag,
  scenarioFlag,
  shareFlag,
  sortFlag,
  stateFlag,
  tokenFlag,
  webhookFlag,
  wideFlag
} from "./flags.ts"
import { countFlag, durationFlag, handle, keyFlag, nameArgument, root, yesFlag } from "./settings.ts"

// Only flags and descriptions are here. The code of a command is loaded when the command runs.

// ---- Inspect --------------------------------------------------------------------------------------------------------

const showModule = () => import("./show.ts")

const choice = {
  all: allFlag,
  name: patternFlag,
  state: stateFlag,
  sort: sortFlag,
  limit: limitFlag,
  keys: keysFlag,
  wide: wideFlag
}

const list = Command.make(
  "list",
  {
    ...choice,
    exitCode: Flag.Boolean("exit-code").pipe(
      Flag.withDescription("Exit with 3 if a circuit is listed, or if the store is empty"),
      Flag.withDefault(false)
    )
  },
  handle(async () => (await showModule()).list)
).pipe(
  Command.withDescription(
    "Lists all circuits that are not closed. With --all, it also lists healthy circuits, and shows traffic"
  ),
  Command.withExamples([
    { command: "effect-fuse list --redis redis://localhost:6379", description: "All circuits that are not closed" },
    { command: "effect-fuse list --all --sort calls", description: "All circuits, the busiest first" },
    { command: "effect-fuse list --state open --sort down --limit 10", description: "The ten longest outages" },
    { command: "effect-fuse list --exit-code --json", description: "For a script, with REDIS_URL or DATABASE_URL set" }
  ])
)

const show = Command.make(
  "show",
  { name: nameArgument, key: keyFlag, sort: sortFlag, limit: limitFlag, wide: wideFlag },
  handle(async () => (await showModule()).show)
).pipe(Command.withDescription("Shows everything that the store knows about a circuit and its keys"))

const watch = Command.make(
  "watch",
  {
    ...choice,
    every: durationFlag("every", "How often to read the store, if it announces no change. Default: 2s").pipe(
      Flag.withDefault(2_000)
    )
  },
  handle(async () => (await showModule()).watch)
).pipe(
  Command.withDescription(
    "Lists circuits again at each change, until it is interrupted. If output is not a terminal, it prints only changes. With --json, each change is one line"
  )
)

const names = Command.make(
  "names",
  {
    prefix: Argument.optional(
      Argument.String("prefix").pipe(Argument.withDescription("Only names that begin with this text"))
    )
  },
  handle(async () => (await import("./overview.ts")).names)
).pipe(
  Command.withDescription("Prints the names of all known circuits, each on its own line, for completion in a shell")
)

const history = Command.make(
  "history",
  {
    name: Argument.optional(nameArgument),
    key: keyFlag,
    limit: countFlag("limit", "Show at most this many transitions. Default: 20").pipe(Flag.withDefault(20)),
    before: Flag.Date("before").pipe(
      Flag.withDescription("Show only transitions before this time, such as 2026-11-21T10:00:00Z"),
      Flag.optional
    ),
    wide: wideFlag
  },
  handle(async () => (await import("./history.ts")).history)
).pipe(
  Command.withDescription("Shows the latest transitions of one circuit, or of all circuits, from the trail"),
  Command.withExamples([{ command: "effect-fuse history payments --limit 50 --database postgres://localhost/shop" }])
)

const doctor = Command.make(
  "doctor",
  {},
  handle(async () => (await import("./doctor.ts")).doctor)
).pipe(
  Command.withDescription(
    "Checks the connection, version, clock, latency, scripts or tables, announcements and contents of the store. Writes a record that expires after 10 seconds"
  )
)

const serve = Command.make(
  "serve",
  { port: portFlag, host: hostFlag, token: tokenFlag, webhook: webhookFlag, link: linkFlag },
  handle(async () => (await import("./serve.ts")).serve)
).pipe(
  Command.withDescription(
    "Serves a page that shows the circuits live. It is read-only; with --token, a browser that has the token can change circuits"
  ),
  Command.withExamples([
    { command: "effect-fuse serve --redis redis://localhost:6379", description: "Look at http://127.0.0.1:8970/" },
    { command: "EFFECT_FUSE_TOKEN=$(openssl rand -base64 24) effect-fuse serve", description: "With operator actions" }
  ])
)

// ---- Operate --------------------------------------------------------------------------------------------------------

const operateModule = () => import("./operate.ts")

const target = { name: nameArgument, key: keyFlag, reason: reasonFlag, actor: actorFlag, new: newFlag }

const forFlag = (otherwise: string) => durationFlag("for", `How long. Default: ${otherwise}`).pipe(Flag.optional)

const isolate = Command.make(
  "isolate",
  { ...target, yes: yesFlag, for: forFlag("until it is released") },
  handle(async () => (await operateModule()).isolate)
).pipe(Command.withDescription("Rejects all calls of a circuit, in all processes, until it is released"))

const disable = Command.make(
  "disable",
  { ...target, yes: yesFlag, for: forFlag("until it is released") },
  handle(async () => (await operateModule()).disable)
).pipe(
  Command.withDescription(
    "Lets all calls of a circuit through without counting them, in all processes, until it is released"
  )
)

const release = Command.make(
  "release",
  { ...target, yes: yesFlag },
  handle(async () => (await operateModule()).release)
).pipe(
  Command.withDescription(
    "Ends all overrides from isolate and disable. It asks before it ends overrides of another operator"
  )
)

const open = Command.make(
  "open",
  { ...target, yes: yesFlag, for: forFlag("30s") },
  handle(async () => (await operateModule()).open)
).pipe(Command.withDescription("Opens a circuit as a trip does. The circuit then probes and closes by itself"))

const close = Command.make(
  "close",
  target,
  handle(async () => (await operateModule()).close)
).pipe(Command.withDescription("Closes a circuit that the fleet has opened"))

const reset = Command.make(
  "reset",
  { ...target, yes: yesFlag },
  handle(async () => (await operateModule()).reset)
).pipe(Command.withDescription("Closes a circuit, ends its overrides and forgets its past openings"))

// ---- Simulate -------------------------------------------------------------------------------------------------------

const simulate = Command.make(
  "simulate",
  {
    scenario: scenarioFlag,
    trace: fileFlag("trace", "Recorded calls: CSV or JSON with time, outcome and duration. - reads standard input"),
    policies: fileFlag(
      "policies",
      "Policies by name, as JSON. Default: the default policy, or the protections of the scenario"
    ),
    rate: Flag.Finite("rate").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("Calls per second, if there is no trace. Default: 20"),
      Flag.optional
    ),
    for: durationFlag("for", "How long to simulate. Default: 2m").pipe(Flag.optional),
    errors: shareFlag("errors", "The share of calls that fail while nothing is down. Default: 0.01").pipe(
      Flag.optional
    ),
    duration: durationFlag("duration", "The mean duration of a call. Default: 50ms").pipe(Flag.optional),
    outageDuration: durationFlag("outage-duration", "The same during an outage. Default: --duration").pipe(
      Flag.optional
    ),
    outage: outageFlag,
    callTimeout: durationFlag("call-timeout", "When callers give up. Default: never").pipe(Flag.optional),
    seed: Flag.Int("seed").pipe(Flag.withDescription("The seed of random numbers. Default: 1"), Flag.withDefault(1)),
    svg: fileFlag("svg", "Write a picture of the calls to this file"),
    html: fileFlag("html", "Write a page with the picture and the figures to this file")
  },
  handle(async () => (await import("./simulate.ts")).simulate)
).pipe(
  Command.withDescription("Plays the same calls under several policies, in virtual time. Needs no store"),
  Command.withExamples([
    { command: "effect-fuse simulate --rate 50 --outage 30s+20s --policies policies.json --html compared.html" },
    { command: "effect-fuse simulate --trace yesterday.csv --policies policies.json" },
    {
      command: "effect-fuse simulate --scenario brownout --svg brownout.svg",
      description: "A server that loses half of its capacity, with workers, a queue and callers that give up"
    }
  ])
)

// ---- Maintain -------------------------------------------------------------------------------------------------------

const transferModule = () => import("./transfer.ts")

const exporting = Command.make(
  "export",
  {
    out: Flag.String("out").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write to this file. Default: standard output"),
      Flag.optional
    )
  },
  handle(async () => (await transferModule()).exporting)
).pipe(
  Command.withDescription("Prints all circuits that are not closed as JSON, for import"),
  Command.withExamples([
    { command: "effect-fuse export --redis redis://old:6379 | effect-fuse import - --yes --redis redis://new:6379" }
  ])
)

const importing = Command.make(
  "import",
  {
    file: Argument.String("file").pipe(Argument.withDescription("The file that export wrote. - reads standard input")),
    actor: actorFlag,
    yes: yesFlag
  },
  handle(async () => (await transferModule()).importing)
).pipe(Command.withDescription("Restores circuits from export, in all processes. Other circuits do not change"))

const cleanup = Command.make(
  "cleanup",
  {
    olderThan: durationFlag("older-than", "Delete transitions and snapshots that are older, such as 90d"),
    closedFor: durationFlag(
      "closed-for",
      "Forget circuits that have been closed for longer. Default: --older-than"
    ).pipe(Flag.optional),
    batch: countFlag("batch", "How many rows one statement deletes. Default: 1000").pipe(Flag.withDefault(1_000)),
    yes: yesFlag
  },
  handle(async () => (await transferModule()).cleanup)
).pipe(
  Command.withDescription(
    "Deletes old rows from the trail, in batches. It keeps the states of circuits that are not closed"
  ),
  Command.withExamples([{ command: "effect-fuse cleanup --older-than 7d --yes --database postgres://localhost/shop" }])
)

const migrate = Command.make(
  "migrate",
  { yes: yesFlag },
  handle(async () => (await transferModule()).migrate)
).pipe(
  Command.withDescription("Creates missing tables for circuits and the trail, for programs that may not create tables")
)

export const command = root.pipe(
  Command.withSubcommands([
    { group: "Inspect", commands: [list, show, watch, names, history, serve, doctor] },
    { group: "Operate", commands: [isolate, disable, release, open, close, reset] },
    { group: "Simulate", commands: [simulate] },
    { group: "Maintain", commands: [exporting, importing, cleanup, migrate] }
  ])
)
