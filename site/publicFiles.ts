/** Writes static files to `site/public`: pictures, the reference, the playground and Mermaid. */
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { playgroundFolder } from "../scripts/page.ts"
import { hasSchemes, inScheme } from "./markdown.ts"
import { rawFiles, read, root } from "./repository.ts"

export const publicFolder = join(root, "site/public")

/** Changes a picture from the scheme of the system to one fixed scheme. */
const drawnIn = (svg: string, scheme: "light" | "dark"): string =>
  svg.replaceAll(/@media\s*\(prefers-color-scheme:\s*dark\)/g, scheme === "dark" ? "@media all" : "@media not all")

const write = (path: string, content: string): void => {
  mkdirSync(dirname(join(publicFolder, path)), { recursive: true })
  writeFileSync(join(publicFolder, path), content)
}

/** Gives the reference the colours of the site. */
const colours = `<style>:root {
  --dark-color-background: #0f1217;
  --dark-color-background-secondary: #181c23;
  --dark-color-background-active: #2a303a;
  --dark-color-accent: #3a424e;
  --dark-color-text: #dfe3e8;
  --dark-color-text-aside: #b3bcc9;
  --dark-color-link: #8fb4ff;
  --light-color-background: #ffffff;
  --light-color-background-secondary: #f6f6f7;
  --light-color-link: #2456c8;
}</style>`

/** Adds a link to the documentation to a page of the reference. The page uses the scheme of the site. */
const ofReference = (html: string, depth: number): string => {
  const back = `<a href="${"../".repeat(depth + 1)}index.html">Documentation</a>`
  const scheme = `<script>
(() => {
  const [site, own] = ["vitepress-theme-appearance", "tsd-theme"]
  const chosen = localStorage.getItem(site)
  localStorage.setItem(own, chosen === "dark" || chosen === "light" ? chosen : "os")
  addEventListener("pagehide", () => {
    const now = localStorage.getItem(own)
    localStorage.setItem(site, now === "dark" || now === "light" ? now : "auto")
  })
})()
</script>`
  return (
    html
      .replace("<head>", () => `<head>${scheme}`)
      .replace("</head>", () => `${colours}</head>`)
      // Wide screens show the first element. Narrow screens show the second element.
      .replace(/<div id="tsd-toolbar-links">|<nav class="tsd-navigation">/g, (links) => links + back)
  )
}

const referenceFolder = join(root, "reference")
export const hasReference = (): boolean => existsSync(join(referenceFolder, "index.html"))

const copyReference = (): void => {
  cpSync(referenceFolder, join(publicFolder, "reference"), { recursive: true })
  for (const path of globSync("**/*.html", { cwd: referenceFolder })) {
    const html = readFileSync(join(referenceFolder, path), "utf8")
    write(`reference/${path}`, ofReference(html, path.split("/").length - 1))
  }
}

/** Copies the playground. The copy gets a link to the documentation. */
const copyPlayground = (): void => {
  cpSync(playgroundFolder, join(publicFolder, "playground"), { recursive: true })
  const html = readFileSync(join(playgroundFolder, "index.html"), "utf8")
  const style = '<link rel="stylesheet" href="./site.css">'
  const back = '<nav class="site"><a href="../index.html">Documentation</a></nav>'
  write("playground/index.html", html.replace("</head>", `${style}</head>`).replace("<body>", `<body>${back}`))
  // The content security policy of the page forbids inline styles.
  write(
    "playground/site.css",
    `.site { max-width: 1440px; margin: 0 auto; padding: 0.75rem 1.25rem 0 }
.site a { color: var(--accent); text-decoration: underline }
`
  )
}

/** Copies the files of Mermaid for browsers. A page loads only the files that its diagrams need. */
const copyMermaid = (): void => {
  const from = join(root, "node_modules/mermaid/dist")
  for (const path of globSync(["mermaid.esm.min.mjs", "chunks/mermaid.esm.min/*.mjs"], { cwd: from })) {
    cpSync(join(from, path), join(publicFolder, "mermaid", path))
  }
  write("mermaid/start.mjs", 'import mermaid from "./mermaid.esm.min.mjs"\nglobalThis.mermaid = mermaid\n')
}

/** Writes all files. The playground must exist. The reference may be missing. */
export const writePublicFiles = (): void => {
  rmSync(publicFolder, { recursive: true, force: true })
  cpSync(join(root, "page/public/icon.svg"), join(publicFolder, "icon.svg"))
  for (const path of rawFiles) {
    cpSync(join(root, path), join(publicFolder, path))
    if (!path.endsWith(".svg")) continue
    const svg = read(path)
    if (hasSchemes(svg))
      for (const scheme of ["light", "dark"] as const) write(inScheme(path, scheme), drawnIn(svg, scheme))
  }
  copyMermaid()
  if (hasReference()) copyReference()
  copyPlayground()
}
