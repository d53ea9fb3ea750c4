/** Extends the Markdown of VitePress. The same files then work on GitHub and on the site. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { MarkdownRenderer } from "vitepress"
import { addressFrom, isExternal, pageAt, rawFiles, read, root, targetOf } from "./repository.ts"

export interface Environment {
  readonly relativePath: string
  /** `true` if VitePress renders the page for the search. A diagram then becomes text, and the search finds its words. */
  readonly forSearch?: boolean
}

const escapeAttribute = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;")

export const hasSchemes = (svg: string): boolean => svg.includes("prefers-color-scheme")

/** Returns the path of the light or dark picture. */
export const inScheme = (path: string, scheme: "light" | "dark"): string => path.replace(/\.svg$/, `.${scheme}.svg`)

/** The size of a PNG or SVG, so that the page does not move when the picture has loaded. */
const sizeOf = (path: string): { readonly width: number; readonly height: number } | undefined => {
  const bytes = readFileSync(join(root, path))
  if (path.endsWith(".png")) return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }
  const [, width, height] = /viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"/.exec(bytes.toString("utf8")) ?? []
  return width === undefined || height === undefined ? undefined : { width: Number(width), height: Number(height) }
}

const img = (address: string, path: string, alt: string, className = ""): string => {
  const size = sizeOf(path)
  const box = size === undefined ? "" : ` width="${size.width}" height="${size.height}"`
  const classes = className === "" ? "" : ` class="${className}"`
  return `<img src="${address}" alt="${escapeAttribute(alt)}"${box}${classes} loading="lazy" decoding="async">`
}

const pathOf = (page: string, src: string): string => {
  const { path } = targetOf(page, src)
  if (!rawFiles.includes(path)) throw new Error(`${page}: the site does not have the picture ${src}`)
  return path
}

/** Renders a picture in the scheme of the site. A drawing links to its file, because a narrow screen shows only a part of the drawing. */
const picture = (page: string, src: string, alt: string, base: string): string => {
  const path = pathOf(page, src)
  if (!path.endsWith(".svg")) return img(`/${path}`, path, alt)
  const schemes = hasSchemes(read(path)) ? (["light", "dark"] as const) : []
  const images =
    schemes.length === 0
      ? img(`/${path}`, path, alt)
      : schemes.map((scheme) => img(`/${inScheme(path, scheme)}`, path, alt, `only-${scheme}`)).join("")
  return `<a class="drawing" href="${base}${path}">${images}</a>`
}

/** Replaces each `<picture>` by one image for each scheme. GitHub shows the `<picture>` with its dark `<source>`. */
const pictures = (page: string, html: string): string =>
  html.replaceAll(/<picture>(.*?)<\/picture>/gs, (all, inside: string) => {
    const dark = /<source[^>]*dark[^>]*srcset="([^"]+)"/.exec(inside)?.[1]
    const light = /<img[^>]*src="([^"]+)"/.exec(inside)?.[1]
    const alt = /<img[^>]*alt="([^"]*)"/.exec(inside)?.[1] ?? ""
    if (dark === undefined || light === undefined) return all
    const [lightPath, darkPath] = [pathOf(page, light), pathOf(page, dark)]
    return img(`/${lightPath}`, lightPath, alt, "only-light") + img(`/${darkPath}`, darkPath, alt, "only-dark")
  })

export const extend = (md: MarkdownRenderer, base: string): void => {
  const pageOf = (env: Environment): string => pageAt(env.relativePath)

  // Relative links are paths of the repository. On the site, these files have other addresses.
  md.core.ruler.push("repository-links", ({ env, tokens }) => {
    const page = pageOf(env)
    for (const { children } of tokens) {
      for (const token of children ?? []) {
        const href = token.attrGet("href")
        if (token.type !== "link_open" || href === null || isExternal(href) || /^[#/]/.test(href)) continue
        token.attrSet("href", addressFrom(page, href))
      }
    }
  })

  // VitePress adds a box and a copy button only to fenced blocks, so indented blocks become fenced ones.
  md.core.ruler.push("indented-blocks", ({ tokens }) => {
    for (const token of tokens) {
      if (token.type !== "code_block") continue
      token.type = "fence"
      token.tag = "code"
      token.info = /^(?:[A-Z_]+=\S* )*(?:curl|effect-fuse|node|npm|npx)\b/.test(token.content) ? "sh" : "text"
    }
  })

  md.renderer.rules["image"] = (tokens, i, _options, env: Environment) => {
    const token = tokens[i]
    return picture(pageOf(env), token?.attrGet("src") ?? "", token?.content ?? "", base)
  }

  const htmlBlock = md.renderer.rules["html_block"]
  md.renderer.rules["html_block"] = (...all) => {
    const [tokens, i, options, env, self] = all
    const html = htmlBlock?.(...all) ?? self.renderToken(tokens, i, options)
    return pictures(pageOf(env), html)
  }

  // Vue reads two braces in a text as an expression.
  const text = md.renderer.rules["text"]
  md.renderer.rules["text"] = (...all) => (text?.(...all) ?? "").replaceAll("{{", "&#123;&#123;")

  const fence = md.renderer.rules["fence"]
  md.renderer.rules["fence"] = (...all) => {
    const [tokens, i, options, env, self] = all
    const token = tokens[i]
    if (token?.info.trim() !== "mermaid") return fence?.(...all) ?? self.renderToken(tokens, i, options)
    if ((env as Environment).forSearch) return `<pre>${md.utils.escapeHtml(token.content)}</pre>`
    const heading = tokens.slice(0, i).findLastIndex(({ type }) => type === "heading_open")
    const label = `Diagram: ${tokens[heading + 1]?.content ?? ""}`
    return `<MermaidDiagram label="${escapeAttribute(label)}" code="${encodeURIComponent(token.content)}" />\n`
  }
}
