import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import { linkForm, toLink } from "../dashboard/linkTemplate.ts"
import { scenarioNames } from "../simulator/scenarioNames.ts"
import { countFlag, parsed, parseMillis } from "./settings.ts"

// ---- Which circuits are shown ---------------------------------------------------------------------------------------

const states = ["Open", "HalfOpen", "Isolated", "Disabled", "Closed", "Unreadable"]

/** The state that a text names, in any case and with or without a separator: `open`, `half-open`, `HALF_OPEN`. */
const toState = (text: string): string | undefined => {
  const letters = text.toLowerCase().replaceAll(/[-_ ]/g, "")
  return states.find((state) => state.toLowerCase() === letters)
}

export const stateFlag = Flag.String("state").pipe(
  Flag.withMetavar("STATE"),
  Flag.withDescription("Show only circuits in this state: open, half-open, isolated, disabled. May be repeated"),
  parsed(toState, `one of ${states.join(", ")}`),
  Flag.atLeast(0)
)

export const patternFlag = Flag.String("name").pipe(
  Flag.withMetavar("PATTERN"),
  Flag.withDescription(
    "Show only circuits whose name matches this pattern, such as 'pay*'. * stands for any characters"
  ),
  Flag.optional
)

export const sortFlag = Flag.Literals("sort", ["name", "state", "down", "openings", "calls", "failures"]).pipe(
  Flag.withDescription(
    "The order of the rows: name, worst state first (state), longest outage first (down), or most openings first (openings). With --all, also most calls or most failures first"
  ),
  Flag.withDefault("name" as const)
)

export const limitFlag = countFlag("limit", "Show at most this many rows. Default: all").pipe(Flag.optional)

export const allFlag = Flag.Boolean("all").pipe(
  Flag.withDescription("Show every name that a process uses, with its traffic"),
  Flag.withDefault(false)
)

export const keysFlag = Flag.Boolean("keys").pipe(
  Flag.withDescription("Show a row for each key instead of one for each name"),
  Flag.withDefault(false)
)

export const wideFlag = Flag.Boolean("wide").pipe(
  Flag.withDescription("Do not cut columns to the width of the terminal"),
  Flag.withDefault(false)
)

// ---- Operator actions -----------------------------------------------------------------------------------------------

export const actorFlag = Flag.String("actor").pipe(
  Flag.withMetavar("NAME"),
  Flag.withDescription("The operator, for logs and the trail. Default: the user who is logged in"),
  Flag.optional
)

export const reasonFlag = Flag.String("reason").pipe(
  Flag.withMetavar("TEXT"),
  Flag.withDescription("The reason, for logs, the trail and the errors of rejected calls"),
  Flag.optional
)

export const newFlag = Flag.Boolean("new").pipe(Flag.withDescription("Accept an unknown name"), Flag.withDefault(false))

// ---- The page -------------------------------------------------------------------------------------------------------

export const portFlag = Flag.Int("port").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("The port of the page. 0 takes a free one. Default: 8970"),
  Flag.filter(
    (n) => n >= 0 && n <= 65_535,
    () => "a port from 0 to 65535"
  ),
  Flag.withDefault(8_970)
)

export const hostFlag = Flag.String("host").pipe(
  Flag.withMetavar("HOST"),
  Flag.withDescription("The address on which to listen. Default: 127.0.0.1, which only this machine reaches"),
  Flag.withDefault("127.0.0.1")
)

export const tokenFlag = Flag.Redacted("token").pipe(
  Flag.withMetavar("TEXT"),
  Flag.withDescription(
    "Let browsers that open the page with ?token=TEXT change circuits. Default: EFFECT_FUSE_TOKEN, or read-only"
  ),
  Flag.withFallbackConfig(Config.Redacted("EFFECT_FUSE_TOKEN")),
  Flag.optional
)

export const webhookFlag = Flag.Redacted("webhook").pipe(
  Flag.withMetavar("URL"),
  Flag.withDescription(
    'POST {"text": ...} to this URL when an outage begins or ends, or an operator acts. Default: EFFECT_FUSE_WEBHOOK, or none'
  ),
  Flag.withFallbackConfig(Config.Redacted("EFFECT_FUSE_WEBHOOK")),
  Flag.optional
)

const toLinkFlag = (text: string) => {
  const [, title = "", url = ""] = /^([^=]*)=(.*)$/s.exec(text) ?? []
  return toLink(title, url)
}

export const linkFlag = Flag.String("link").pipe(
  Flag.withMetavar("TITLE=URL"),
  Flag.withDescription(
    "A link on the page of each circuit. In the URL, {name} and {key} stand for the circuit. May be repeated. Default: none"
  ),
  parsed(toLinkFlag, `TITLE=URL: ${linkForm}`),
  Flag.atLeast(0)
)

// ---- Simulations ----------------------------------------------------------------------------------------------------

export const shareFlag = (name: string, description: string) =>
  Flag.Finite(name).pipe(
    Flag.withMetavar("SHARE"),
    Flag.withDescription(description),
    Flag.filter(
      (n) => n >= 0 && n <= 1,
      () => "a number from 0 to 1"
    )
  )

export const fileFlag = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar("FILE"), Flag.withDescription(description), Flag.optional)

/** `30s+20s` begins after 30 seconds and lasts 20 seconds; with `@0.5` half of the calls fail. */
const toOutage = (text: string) => {
  const [, begins = "", lasts = "", share] = /^([^+@]+)\+([^+@]+)(?:@(\d+(?:\.\d+)?))?$/.exec(text) ?? []
  const at = /^0(ms|s|m|h)?$/.test(begins) ? 0 : parseMillis(begins)
  const millis = parseMillis(lasts)
  const errors = share === undefined ? 1 : Number(share)
  return at === undefined || millis === undefined || errors > 1 ? undefined : { at, for: millis, errors }
}

export const scenarioFlag = Flag.Literals("scenario", scenarioNames).pipe(
  Flag.withDescription(
    `Play callers against a server with workers and a queue instead: ${scenarioNames.slice(0, -1).join(", ")} or ${scenarioNames.at(-1)}`
  ),
  Flag.optional
)

export const outageFlag = Flag.String("outage").pipe(
  Flag.withMetavar("AT+FOR"),
  Flag.withDescription(
    "When the dependency is down: 30s+20s, or 30s+20s@0.5 if half of the calls fail. May be repeated. Default: 30s+20s"
  ),
  parsed(toOutage, "AT+FOR such as 30s+20s or 30s+20s@0.5"),
  Flag.atLeast(0)
)
