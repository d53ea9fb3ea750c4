/**
 * Measures the cases of one family, one at a time, whenever the parent process asks for a sample. A process per family keeps the garbage
 * and the compiled code of one library away from the others.
 */
import { families } from "./families.ts"
import { type Case, type Sample, sample, warmUp } from "./sampling.ts"

/** A request of the parent. */
export type Request =
  | { readonly _tag: "WarmUp"; readonly name: string; readonly warmUpMillis: number; readonly sampleMillis: number }
  | { readonly _tag: "Sample"; readonly name: string; readonly calls: number }

/** What this process sends to its parent: the names of its cases, and then one answer for each request. */
export type Answer =
  | { readonly _tag: "Ready"; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "WarmedUp"; readonly calls: number }
  | { readonly _tag: "Sampled"; readonly sample: Sample }

const load = families[process.argv[2] ?? ""]
if (load === undefined) throw new Error(`expected one of ${Object.keys(families).join(", ")}`)
const cases = new Map<string, Case>((await load()).map((one) => [one.name, one]))

const send = (answer: Answer) => process.send?.(answer)

const answer = async (request: Request): Promise<Answer> => {
  const one = cases.get(request.name)
  if (one === undefined) throw new Error(`no case has the name ${request.name}`)
  return request._tag === "WarmUp"
    ? { _tag: "WarmedUp", calls: await warmUp(one, request.warmUpMillis, request.sampleMillis) }
    : { _tag: "Sampled", sample: await sample(one, request.calls) }
}

process.on("message", (request: Request) => void answer(request).then(send))
process.on("disconnect", () => process.exit(0))
send({ _tag: "Ready", names: [...cases.keys()] })
