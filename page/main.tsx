import { render } from "preact"
import type { ActionResponse, CircuitDetail } from "../src/dashboard/view.ts"
import { App, type Server } from "./App.tsx"
import { connect } from "./connection.ts"

const answerOf = async <A,>(response: Promise<Response>): Promise<A | { readonly error: string }> => {
  try {
    const answered = await response
    if (answered.headers.get("content-type")?.startsWith("application/json") === true) return await answered.json()
    return { error: `The server answered with status ${answered.status}.` }
  } catch {
    return { error: "The server does not answer." }
  }
}

const server: Server = {
  load: ({ id }) => answerOf<CircuitDetail>(fetch(`./api/circuit?${new URLSearchParams({ id })}`)),
  send: async (request) =>
    await answerOf<Exclude<ActionResponse, { error: string }>>(
      fetch("./api/action", {
        method: "POST",
        // A form on another site cannot send this content type.
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request)
      })
    )
}

const page = document.getElementById("page")
if (page !== null) {
  const draw = (connected: Parameters<Parameters<typeof connect>[1]>[0]) =>
    render(<App {...connected} server={server} />, page)
  draw({ view: undefined, lostAt: undefined })
  connect("./api/events", draw)
}
