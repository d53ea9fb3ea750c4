import { optional, textLike } from "../core/fields.ts"

export const tableFields = {
  table: textLike(
    "the name or the ARN of a table (3 or more letters, digits, _, ., :, / or -)",
    /^[A-Za-z0-9_.:/-]{3,1024}$/
  ),
  prefix: optional(textLike("at most 100 letters, digits, ., _, - and :", /^[A-Za-z0-9._:-]{1,100}$/))
}
