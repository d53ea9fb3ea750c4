import { useMemo, useState } from "preact/hooks"
import { duration } from "../src/dashboard/duration.ts"
import type { CircuitView, TransitionView } from "../src/dashboard/view.ts"
import { type Band, bandsOf, type Course, callsOf, realCourse, replay, usual } from "../src/dashboard/whatIf.ts"
import { words } from "./parts.tsx"

interface Field {
  readonly name: "inARow" | "share" | "minimumCalls" | "openFor"
  readonly before: string
  readonly after: string
  readonly most: number
}

/** The form shows these fields as one sentence, in this order. Shares are in percent, times in seconds. */
const fields: ReadonlyArray<Field> = [
  { name: "inARow", before: "Opens at", after: "failures in a row,", most: 10_000 },
  { name: "share", before: "or if", after: "%", most: 100 },
  { name: "minimumCalls", before: "of at least", after: "calls in 10 s fail.", most: 1_000_000 },
  { name: "openFor", before: "Stays open for", after: "s.", most: 86_400 }
]

type Texts = Readonly<Record<Field["name"], string>>

const begin: Texts = {
  inARow: String(usual.inARow),
  share: String(usual.share * 100),
  minimumCalls: String(usual.minimumCalls),
  openFor: String(usual.openForMillis / 1_000)
}

const isValid = ({ most }: Field, text: string): boolean =>
  /^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= most

const bandsText = (bands: ReadonlyArray<Band>): string =>
  bands.map(({ from, state, to }) => `${words[state]} for ${duration(to - from)}`).join(", ")

const Bands = ({
  bands,
  from,
  to
}: {
  readonly bands: ReadonlyArray<Band>
  readonly from: number
  readonly to: number
}) => {
  const x = (at: number) => ((at - from) / (to - from)) * 300
  return (
    <svg class="bands" viewBox="0 0 300 10" preserveAspectRatio="none" role="img" aria-label={bandsText(bands)}>
      {bands.map((band) => (
        <rect key={band.from} class={band.state} x={x(band.from)} y="0" width={x(band.to) - x(band.from)} height="10" />
      ))}
    </svg>
  )
}

const whole = (n: number): string => Math.round(n).toLocaleString("en-US")

const Row = ({
  course: { bands, failed, openMillis, rejected },
  from,
  title,
  to
}: {
  readonly title: string
  readonly course: Course
  readonly from: number
  readonly to: number
}) => (
  <tr>
    <th scope="row" class="course">
      {title}
      <Bands bands={bands} from={from} to={to} />
    </th>
    <td>{duration(openMillis)}</td>
    <td>{whole(rejected)}</td>
    <td>{whole(failed)}</td>
  </tr>
)

/** Compares what happened to the recent traffic of a name with what another policy would have done. */
export const WhatIf = ({
  at,
  circuit: { history, state },
  every,
  transitions
}: {
  readonly at: number
  readonly circuit: CircuitView
  readonly every: number
  readonly transitions: ReadonlyArray<TransitionView>
}) => {
  const [texts, set] = useState(begin)
  const [valid, setValid] = useState(begin)
  // The history changes only when a sample arrives, so this value is the time of the last sample.
  const to = useMemo(() => at, [history])
  const samples = history?.calls.length ?? 0
  const from = to - samples * every
  const bands = useMemo(() => bandsOf(transitions, state, from, to), [transitions, history])
  const calls = useMemo(() => history && callsOf(history, bands, to, every), [bands])
  const policy = {
    inARow: Number(valid.inARow),
    share: Number(valid.share) / 100,
    minimumCalls: Number(valid.minimumCalls),
    openForMillis: Number(valid.openFor) * 1_000
  }
  const other = useMemo(() => calls && replay(calls, policy, from, to), [calls, valid])
  if (history === undefined || calls === undefined || other === undefined || samples < 2) {
    return <p class="quiet">No traffic is known yet.</p>
  }
  const change = (name: Field["name"], text: string) => {
    const next = { ...texts, [name]: text }
    set(next)
    if (fields.every((field) => isValid(field, next[field.name]))) setValid(next)
  }
  return (
    <>
      <form class="policy" onSubmit={(event) => event.preventDefault()}>
        {fields.map((field) => (
          <label key={field.name}>
            {field.before}{" "}
            <input
              type="number"
              min="1"
              max={field.most}
              step="1"
              required
              value={texts[field.name]}
              aria-invalid={!isValid(field, texts[field.name])}
              onInput={({ currentTarget }) => change(field.name, currentTarget.value)}
            />{" "}
            {field.after}
          </label>
        ))}
      </form>
      <table class="courses">
        <thead>
          <tr>
            <th scope="col" class="course">
              Last {duration(to - from).replace(" 0 s", "")}
            </th>
            <th scope="col">Not closed</th>
            <th scope="col">Rejected</th>
            <th scope="col">Failed calls</th>
          </tr>
        </thead>
        <tbody>
          <Row title="What happened" course={realCourse(history, bands, every)} from={from} to={to} />
          <Row title="With this policy" course={other} from={from} to={to} />
        </tbody>
      </table>
      <p class="quiet note">
        This is an estimate. The page counts calls in periods of {every / 1_000} seconds. It spreads the calls of a
        period evenly in a random order, and replays the calls of all processes and keys on one circuit. A call that was
        rejected while the circuit was open counts as a failure.
        {calls.weight > 1 && ` Because there are many calls, each replayed call represents ${calls.weight.toFixed(1)}.`}
      </p>
    </>
  )
}
