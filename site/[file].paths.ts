import { sourcePages } from "./sourcePages.ts"

export default { paths: sourcePages }
