import { useEffect, useState } from "preact/hooks"

/** A button that copies a text, and says whether it did. */
export const Copy = ({ label, text }: { readonly label: string; readonly text: () => string }) => {
  const [said, say] = useState("")
  useEffect(() => {
    if (said === "") return
    const timer = setTimeout(() => say(""), 4_000)
    return () => clearTimeout(timer)
  }, [said])
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text())
      say("Copied")
    } catch {
      say("The browser does not allow copying. Select the text instead.")
    }
  }
  return (
    <span class="copy">
      <button type="button" onClick={() => void copy()}>
        {label}
      </button>
      <span role="status">{said}</span>
    </span>
  )
}
