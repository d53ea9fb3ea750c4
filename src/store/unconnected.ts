import type { SharedStore } from "./SharedStore.ts"

/** A store with this method logs one warning that says why it is not connected. The method returns whether it is not connected now. */
export const Unconnected: unique symbol = Symbol.for("effect-fuse/Unconnected")

export const isUnconnected = (store: SharedStore): boolean =>
  (store as { readonly [Unconnected]?: () => boolean })[Unconnected]?.() === true

/** The log annotation that names the store of a warning about a store. */
export const storeAnnotation = "store"
