/** Writes the files that the site serves as they are to `site/public`. */
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { playgroundFolder } from "../scripts/page.ts"
import { hasSchemes, inScheme } from "./markdown.ts"
import { rawFiles, root } from "./repository.ts"

export const publicFolder = join(root, "site/public")

/** A picture that asks for the scheme of the system, drawn for one scheme. */
const drawnIn = (svg: string, scheme: "light" | "dark"): string =>
  svg.replaceAll(/@media\s*\(prefers-color-scheme:\s*dark\)/g, scheme === "dark" ? "@media all" : "@media not all")

const write = (path: string, content: string): void => {
  mkdirSync(dirname(join(publicFolder, path)), { recursive: true })
  writeFileSync(join(publicFolder, path), content)
}

/** The colours of the site. */
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

/** The reference remembers its scheme under another key than the site, and knows nothing of the site. */
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
      // The first place is in the bar of wide screens, the second one in the menu of narrow ones.
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

/** The playground also works without the site, so only the copy leads back to it. */
const copyPlayground = (): void => {
  cpSync(playgroundFolder, join(publicFolder, "playground"), { recursive: true })
  const html = readFileSync(join(playgroundFolder, "index.html"), "utf8")
  const style = '<link rel="stylesheet" href="./site.css">'
  const back = '<nav class="site"><a href="../index.html">Documentation</a></nav>'
  write("playground/index.html", html.replace("</head>", `${style}</head>`).replace("<body>", `<body>${back}`))
  // A file, because the policy of the page forbids styles in elements.
  write(
    "playground/site.css",
    `.site { max-width: 1240px; margin: 0 auto; padding: 0.75rem 1.25rem 0 }
.site a { color: var(--accent); text-decoration: underline }
`
  )
}

/** The files of Mermaid that its package has built for browsers. A page loads only those of its kinds of diagrams. */
const copyMermaid = (): void => {
  const from = join(root, "node_modules/mermaid/dist")
  for (const path of globSync(["mermaid.esm.min.mjs", "chunks/mermaid.esm.min/*.mjs"], { cwd: from })) {
    cpSync(join(from, path), join(publicFolder, "mermaid", path))
  }
  write("mermaid/start.mjs", 'import mermaid from "./mermaid.esm.min.mjs"\nglobalThis.mermaid = mermaid\n')
}

/** The playground must be built. The reference may be missing in development. */
export const writePublicFiles = (): void => {
  rmSync(publicFolder, { recursive: true, force: true })
  cpSync(join(root, "page/public/icon.svg"), join(publicFolder, "icon.svg"))
  for (const path of rawFiles) {
    cpSync(join(root, path), join(publicFolder, path))
    if (!path.endsWith(".svg")) continue
    const svg = readFileSync(join(root, path), "utf8")
    if (hasSchemes(svg))
      for (const scheme of ["light", "dark"] as const) write(inScheme(path, scheme), drawnIn(svg, scheme))
  }
  copyMermaid()
  if (hasReference()) copyReference()
  copyPlayground()
}
