import { useEffect, useState } from "preact/hooks"

/** Copies a text when a user presses the button, and shows whether the browser has copied the text. */
export const Copy = ({ label, text }: { readonly label: string; readonly text: () => string }) => {
  const [message, setMessage] = useState("")
  useEffect(() => {
    if (message === "") return
    const timer = setTimeout(() => setMessage(""), 4_000)
    return () => clearTimeout(timer)
  }, [message])
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text())
      setMessage("Copied")
    } catch {
      setMessage("The browser does not allow copying. Select the text instead.")
    }
  }
  return (
    <span class="copy">
      <button type="button" onClick={() => void copy()}>
        {label}
      </button>
      <span role="status">{message}</span>
    </span>
  )
}
