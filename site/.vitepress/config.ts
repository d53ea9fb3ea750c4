import { join } from "node:path"
import { defineConfig, type HeadConfig } from "vitepress"
import { ensurePlayground } from "../../scripts/page.ts"
import { extend } from "../markdown.ts"
import { documentation, exampleGroups, sectionItems } from "../navigation.ts"
import { hasReference, publicFolder, writePublicFiles } from "../publicFiles.ts"
import { addressOf, excluded, pageAt, read, root, routeOf } from "../repository.ts"
import { slugify } from "../slugify.ts"
import { startPage } from "../startPage.ts"
import { summary } from "../summary.ts"

/** `SITE_URL` is the URL of the site, or only its path. Links need only the path. The sitemap needs the URL. */
const hosted = process.env["SITE_URL"] ?? "/"
const hostname = /^https?:/.test(hosted) ? hosted.replace(/\/*$/, "/") : undefined
const base = `/${new URL(hosted, "http://localhost").pathname}/`.replaceAll(/\/+/g, "/")

const [, , command] = process.argv
if (command === "build" && !hasReference()) {
  throw new Error("The API reference is missing. Run `npm run reference` first, or `npm run docs:build` for both.")
}
if (command !== "preview") {
  await ensurePlayground()
  writePublicFiles()
}

const { description, name } = JSON.parse(read("package.json"))
const isReadme = (file: string): boolean => file === join(root, "README.md")
const isSearched = (path: string): boolean => !["CHANGELOG.md", "test/mutants.md"].includes(path)

const actions = [
  `[Start with the tutorial](docs/tutorial.md){.action .main}`,
  `[Do I need this?](docs/do-i-need-this.md){.action}`,
  `<a class="action" href="${base}playground/index.html" target="_self">Try the playground</a>`
]
const startOf = (source: string): string => startPage(source, actions)

/** Splits a text into words for the search. Adds "Half" and "Open" for a name such as `HalfOpen`, so "half-open" finds this name. */
const tokenize = (text: string): Array<string> =>
  text
    .split(/[\s\p{P}\p{S}]+/u)
    .flatMap((word) => (/[a-z][A-Z]/.test(word) ? [word, ...word.split(/(?<=[a-z])(?=[A-Z])/)] : [word]))

/** Ranks pages higher if they explain words and symptoms. Ranks pages lower if they only use these words. */
const boostDocument = (address: string): number =>
  /\/docs\/(?:concepts|tutorial|operations)\.html/.test(address)
    ? 2
    : /\/docs\/(?:modules|coming-from)\//.test(address)
      ? 0.7
      : 1

/** Prepares a word for the search. Returns `null` for a common word: "why does my circuit not open" searches for "circuit" and "open". */
const processTerm = (word: string): string | null =>
  /^(?:an?|and|are|as|at|be|by|can|do|does|for|from|have|how|i|if|in|is|it|its|my|not|of|on|or|the|to|what|when|where|which|who|why|with|you|your)$/i.test(
    word
  )
    ? null
    : word.toLowerCase()

export default defineConfig({
  title: name,
  description,
  lang: "en",
  base,
  srcDir: root,
  srcExclude: excluded,
  rewrites: routeOf,
  outDir: process.env["SITE_OUT"] ?? join(root, "site/dist"),
  ...(hostname !== undefined && { sitemap: { hostname } }),
  head: [
    ["link", { rel: "icon", type: "image/svg+xml", href: `${base}icon.svg` }],
    ["meta", { name: "color-scheme", content: "light dark" }]
  ],
  transformPageData: ({ filePath, frontmatter, params, relativePath }) => {
    if (frontmatter["layout"] === "home") return { description }
    return { description: params?.["description"] ?? (summary(read(pageAt(filePath || relativePath))) || description) }
  },
  transformHead: ({ page, pageData, title, description }) => {
    const address = hostname === undefined ? undefined : new URL(addressOf(page).slice(1), hostname).href
    const head: Array<HeadConfig> = [
      ["meta", { property: "og:title", content: pageData.title || title }],
      ["meta", { property: "og:description", content: description }],
      ["meta", { property: "og:type", content: page === "index.md" ? "website" : "article" }],
      ["meta", { property: "og:site_name", content: name }]
    ]
    // These tags need a complete URL.
    if (hostname !== undefined && address !== undefined) {
      head.push(["meta", { property: "og:url", content: address }], ["link", { rel: "canonical", href: address }])
      head.push(["meta", { property: "og:image", content: `${hostname}docs/pictures/dashboard-light.png` }])
    }
    return head
  },
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: { slugify },
    config: (md) => extend(md, base)
  },
  themeConfig: {
    logo: "/icon.svg",
    externalLinkIcon: true,
    outline: { level: [2, 3], label: "On this page" },
    nav: [
      { text: "Tutorial", link: "/docs/tutorial.html" },
      { text: "Documentation", items: sectionItems() },
      { text: "Examples", link: "/examples/", activeMatch: "^/examples/" },
      // VitePress does not make these pages. With a target, the browser loads the address itself.
      { text: "Playground", link: "/playground/index.html", target: "_self" },
      ...(hasReference() ? [{ text: "API reference", link: "/reference/index.html", target: "_self" }] : []),
      { text: "Changes", link: "/CHANGELOG.html" }
    ],
    sidebar: { "/examples/": [...exampleGroups()], "/": [...documentation()] },
    search: {
      provider: "local",
      options: {
        detailedView: false,
        // The changelog and the list of mutants contain nearly every word, so the search leaves them out.
        _render: (source, env, md) => {
          const path = pageAt(env.relativePath)
          if (!isSearched(path)) return ""
          return md.render(isReadme(env.path) ? startOf(source) : source, Object.assign(env, { forSearch: true }))
        },
        miniSearch: {
          options: { tokenize },
          searchOptions: { boost: { title: 2, titles: 1.5, text: 1 }, combineWith: "AND", boostDocument, processTerm }
        }
      }
    },
    notFound: {
      title: "This page does not exist",
      quote: "It may have moved. Search for it, or look at the list of all pages in the documentation.",
      linkLabel: "Go to the start page",
      linkText: "Go to the start page"
    }
  },
  vite: {
    publicDir: publicFolder,
    plugins: [
      {
        name: "start-page",
        enforce: "pre",
        transform: (code: string, id: string) => (isReadme(id) ? startOf(code) : undefined)
      }
    ],
    server: { watch: { ignored: ["**/{reference,site/dist,site/public}/**"] } },
    build: { chunkSizeWarningLimit: 2_000 }
  }
})
