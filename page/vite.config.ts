import { defineConfig } from "vite"

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  build: {
    outDir: "../dist/dashboard/page",
    emptyOutDir: true,
    // Applications rarely have a folder with this name, so an application can serve the page at the root of its router.
    assetsDir: "effect-fuse",
    target: "es2022",
    modulePreload: false,
    // Small files stay files: the content security policy of the page allows no `data:` in scripts and styles.
    assetsInlineLimit: 0
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } }
})
