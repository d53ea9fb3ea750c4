/**
 * Why an optional package cannot be used. A package that is installed may still fail to load: an ESM bundle, for example, cannot call
 * `require` for the built-in modules of Node.
 */
export const packageError = (name: string, cause: unknown): Error => {
  const text = String((cause as { readonly message?: unknown } | undefined)?.message)
  const isMissing = missing.some((phrase) => text.includes(`${phrase}${name}`))
  return new Error(`the package ${name} ${isMissing ? "is not installed" : "cannot be loaded"}`, { cause })
}

/** How Node, Bun, bundlers and browsers begin the message for a package that they do not find, up to its name. */
const missing = ["package '", 'package "', "module '", 'resolve "', 'specifier "', "specifier '"]

/** The exports of a package. A bundle that keeps a CommonJS package in a file of its own has them only in `default`. */
export const exportsOf = <A extends object>(found: A, name: keyof A): A =>
  name in found ? found : ((found as { readonly default?: A }).default ?? found)
