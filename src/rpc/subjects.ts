import { keyOrFunction } from "../breaker/options.ts"
import { inlinePolicy, type Subject, toSubject } from "../breaker/protect.ts"
import { type Decoded, decodeArgument, functionField, optional, textOrEmpty } from "../core/fields.ts"
import type { Classify } from "../engine/classify.ts"

export const subjectFields = {
  key: optional(keyOrFunction),
  policy: inlinePolicy,
  classify: optional(functionField)
}

/** Returns a function from a call to its circuit. `usual` classifies calls if the options have no `classify`. */
export const subjectsOf = <Call>(
  operation: string,
  name: string,
  { classify, key, policy }: Decoded<typeof subjectFields>,
  usual: Classify
): ((call: Call) => Subject) => {
  const given = { policy, classify: classify ?? usual }
  // Only a custom classifier may return an effect.
  const subject = { ...toSubject(operation, name, given), waits: classify !== undefined }
  if (typeof key === "function") {
    return (call) => ({ ...subject, key: decodeArgument(operation, "key", optional(textOrEmpty), key(call)) })
  }
  const fixed = { ...subject, key }
  return () => fixed
}
