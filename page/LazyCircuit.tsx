import type { ComponentProps } from "preact"
import { useEffect, useState } from "preact/hooks"
import type { Circuit } from "./Circuit.tsx"

let loaded: typeof Circuit | undefined

/** Loads the code of the circuit page later, because the first screen does not need this code. */
export const loadCircuit = async (): Promise<void> => {
  loaded = (await import("./Circuit.tsx")).Circuit
}

/** Shows the page of a circuit after its code is loaded. */
export const LazyCircuit = (props: ComponentProps<typeof Circuit>) => {
  const [failed, fail] = useState(false)
  const [, draw] = useState(false)
  useEffect(() => {
    if (loaded !== undefined) return
    loadCircuit().then(
      () => draw(true),
      () => fail(true)
    )
  }, [])
  const Loaded = loaded
  if (Loaded !== undefined) return <Loaded {...props} />
  return (
    <main>
      <p class="more">{failed ? "This part of the page cannot be loaded. Reload the page." : "Loading…"}</p>
    </main>
  )
}
