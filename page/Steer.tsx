import { useEffect, useRef, useState } from "preact/hooks"
import type { ActionName, ActionRequest, ActionResponse, CircuitView } from "../src/dashboard/view.ts"
import { count, rate } from "./format.ts"
import { Name, words } from "./parts.tsx"

const verbs: Readonly<Record<ActionName, { readonly title: string; readonly does: string; readonly lasts: boolean }>> =
  {
    isolate: { title: "Isolate", does: "Every process rejects every call", lasts: true },
    disable: { title: "Disable", does: "Every process lets every call through, uncounted", lasts: true },
    release: { title: "Release", does: "The override ends, and the circuit decides for itself again", lasts: false },
    open: { title: "Open", does: "Every process rejects calls until the time is over, then probes", lasts: true },
    close: { title: "Close", does: "Every process admits calls at once", lasts: false },
    reset: { title: "Reset", does: "The circuit is closed, and its openings are forgotten", lasts: false }
  }

const times: ReadonlyArray<readonly [label: string, millis: number | undefined]> = [
  ["5 minutes", 300_000],
  ["30 minutes", 1_800_000],
  ["2 hours", 7_200_000],
  ["until it is released", undefined]
]

/** The browser stores the name of the operator under this key, unless storage is forbidden. */
const nameItem = "effect-fuse.operator"
const storedName = (): string => {
  try {
    return localStorage.getItem(nameItem) ?? ""
  } catch {
    return ""
  }
}
const keepName = (name: string): void => {
  try {
    localStorage.setItem(nameItem, name)
  } catch {
    // Without storage, the operator enters the name for each action.
  }
}

const effect = (processes: number): string =>
  processes === 0
    ? "No process is live now. The next process that starts applies it."
    : `${count(processes, "process applies", "processes apply")} it at once.`

export interface Asked {
  readonly circuit: CircuitView
  readonly action: ActionName
}

/** Asks for a reason and a confirmation, sends the action, and shows the answer. */
export const Steer = ({
  asked: { action, circuit },
  actor,
  processes,
  send,
  onClose
}: {
  readonly asked: Asked
  /** The name of the operator; `undefined` if the server does not know it. */
  readonly actor: string | undefined
  readonly processes: number
  readonly send: (request: ActionRequest) => Promise<ActionResponse>
  readonly onClose: () => void
}) => {
  const dialog = useRef<HTMLDialogElement>(null)
  const [reason, setReason] = useState("")
  const [name, setName] = useState(storedName)
  const [time, setTime] = useState(1)
  const [sending, setSending] = useState(false)
  const [answer, setAnswer] = useState<ActionResponse | undefined>()
  useEffect(() => dialog.current?.showModal(), [])
  const { does, lasts, title } = verbs[action]
  const { keys, traffic } = circuit
  const concerned = [
    count(processes, "process", "processes"),
    ...(circuit.key === undefined && keys > 0 ? [count(keys, "key")] : []),
    ...(traffic === undefined ? [] : [`about ${rate(traffic.calls + traffic.rejections)} calls a second`])
  ]
  const submit = async (event: Event) => {
    event.preventDefault()
    setSending(true)
    const forMillis = lasts ? times[time]?.[1] : undefined
    if (actor === undefined) keepName(name)
    const by = actor === undefined ? name.trim() || undefined : undefined
    const request = {
      action,
      actor: by,
      name: circuit.name,
      key: circuit.key,
      reason: reason.trim() || undefined,
      forMillis
    }
    setAnswer(await send(request))
    setSending(false)
  }
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="steer-title">
      <form onSubmit={submit}>
        <h2 id="steer-title">
          {title} <Name circuit={circuit} />?
        </h2>
        <p>{does}.</p>
        <p class="concerns">Concerns {concerned.join(", ")}.</p>
        {answer === undefined ? (
          <>
            <label>
              Reason
              <input
                type="text"
                maxLength={200}
                placeholder="What others will read in the history"
                value={reason}
                onInput={({ currentTarget }) => setReason(currentTarget.value)}
              />
            </label>
            {actor === undefined && (
              <label>
                Your name
                <input
                  type="text"
                  maxLength={100}
                  autocomplete="name"
                  value={name}
                  onInput={({ currentTarget }) => setName(currentTarget.value)}
                />
              </label>
            )}
            {lasts && (
              <label>
                How long
                <select value={time} onChange={({ currentTarget }) => setTime(Number(currentTarget.value))}>
                  {times.map(([label], i) => (
                    <option key={label} value={i}>
                      {label}
                    </option>
                  ))}
                </select>
              </label>
            )}
            <div class="buttons">
              <button type="button" onClick={() => dialog.current?.close()}>
                Cancel
              </button>
              <button type="submit" class="primary" disabled={sending}>
                {sending ? "Sending…" : title}
              </button>
            </div>
          </>
        ) : (
          <>
            <p role="status" class={"error" in answer ? "refused" : "done"}>
              {"error" in answer
                ? answer.error
                : `The circuit is ${words[answer.state].toLowerCase()} now. ${effect(answer.processes)}`}
            </p>
            <div class="buttons">
              <button type="button" class="primary" onClick={() => dialog.current?.close()}>
                Done
              </button>
            </div>
          </>
        )}
      </form>
    </dialog>
  )
}
