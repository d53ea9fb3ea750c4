/**
 * Explains why an optional package cannot be used. An installed package may fail to load: for example, an ESM bundle cannot call `require`
 * for the built-in modules of Node.
 */
export const packageError = (name: string, cause: unknown): Error => {
  const text = String((cause as { readonly message?: unknown } | undefined)?.message)
  const isMissing = missing.some((phrase) => text.includes(`${phrase}${name}`))
  return new Error(`the package ${name} ${isMissing ? "is not installed" : "cannot be loaded"}`, { cause })
}

/** If Node, Bun, a bundler or a browser does not find a package, its message has one of these texts before the name of the package. */
const missing = ["package '", 'package "', "module '", 'resolve "', 'specifier "', "specifier '"]

/** Returns the exports of a package. If a bundle keeps a CommonJS package in a separate file, only `default` has the exports. */
export const exportsOf = <A extends object>(found: A, name: keyof A): A =>
  name in found ? found : ((found as { readonly default?: A }).default ?? found)
