import { defineConfig } from "vite"

export default defineConfig({
  root: import.meta.dirname,
  // With relative addresses, a web server can have the playground in any folder.
  base: "./",
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    // The content security policy of the page forbids `data:` addresses.
    assetsInlineLimit: 0
  },
  worker: { format: "es" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } }
})
