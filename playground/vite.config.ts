import { defineConfig } from "vite"

export default defineConfig({
  root: import.meta.dirname,
  // All addresses are relative, so the page works in any folder of a server.
  base: "./",
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    // Small files stay files: the content security policy of the page allows no `data:`.
    assetsInlineLimit: 0
  },
  worker: { format: "es" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } }
})
