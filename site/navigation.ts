/** Makes the navigation of the site from the tables of `docs/README.md`, and from the tables of the linked pages. */
import { addressFrom, addressOf, isExternal, type Link, linksIn, pages, read, targetOf, titleOf } from "./repository.ts"
import { slugify } from "./slugify.ts"

export interface Item {
  readonly text: string
  readonly link: string
}

export interface Group {
  readonly text: string
  readonly link?: string
  readonly collapsed?: boolean
  readonly items: Array<Item | Group>
}

const index = "docs/README.md"
const examples = "examples/README.md"
const contributing = "CONTRIBUTING.md"

/** The start page also shows the section with this heading. */
export const questionsHeading = "Ten questions of newcomers"

interface Section {
  readonly heading: string
  readonly text: string
}

/** Splits a page at its headings of level two. The first section has the heading "". */
export const sectionsOf = (page: string): ReadonlyArray<Section> =>
  read(page)
    .split(/^## /m)
    .map((part, i) => {
      if (i === 0) return { heading: "", text: part }
      const end = part.indexOf("\n")
      return { heading: part.slice(0, end).trim(), text: part.slice(end + 1) }
    })

/** Reads the rows of the tables in a text. Includes headers, and leaves out rows of dashes. */
export const rowsOf = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from(text.matchAll(/^\|(.*)\|[ \t]*$/gm), ([, row = ""]) => row.split("|").map((cell) => cell.trim())).filter(
    (cells) => !cells.every((cell) => /^:?-+:?$/.test(cell))
  )

const plain = (text: string): string => text.replaceAll("`", "").replaceAll("**", "")

const itemOf = (page: string, { href, text }: Link): Item => ({ text: plain(text), link: addressFrom(page, href) })

/** Finds links in `x.md` to pages in the folder `x`, and groups these pages by heading. Leaves out pages in `named`. */
const below = (page: string, named: ReadonlySet<string>): Array<Item | Group> => {
  const folder = page.replace(/\.md$/, "/")
  const seen = new Set(named)
  const groups = sectionsOf(page).flatMap(({ heading, text }) => {
    const items = linksIn(text).flatMap((link) => {
      if (isExternal(link.href)) return []
      const { path } = targetOf(page, link.href)
      if (!path.startsWith(folder) || !pages.includes(path) || seen.has(path)) return []
      seen.add(path)
      return [{ text: plain(link.text), link: addressOf(path) }]
    })
    return items.length > 0 ? [{ text: heading, collapsed: true, items }] : []
  })
  return groups.length > 1 ? groups : groups.flatMap(({ items }) => items)
}

export const documentation = (): ReadonlyArray<Group> => {
  const all = sectionsOf(index)
  const named = new Set(linksIn(read(index)).map(({ href }) => targetOf(index, href).path))
  const groups: Array<Group> = []
  const outside: Array<Item> = []
  for (const { heading, text } of all) {
    if (heading === questionsHeading) continue
    const [header = [], ...rows] = rowsOf(text)
    // The table before the first heading has its title in its first cell.
    const title = heading === "" ? (header[0] ?? "") : heading
    const items = rows.flatMap((cells): Array<Item | Group> => {
      const links = cells.flatMap((cell) => linksIn(cell))
      if (links.length > 1) {
        return [{ text: plain(cells[0] ?? ""), collapsed: true, items: links.map((link) => itemOf(index, link)) }]
      }
      return links.map((link) => {
        const item = itemOf(index, link)
        const children = below(targetOf(index, link.href).path, named)
        return children.length === 0 ? item : { ...item, collapsed: true, items: children }
      })
    })
    if (items.length > 0) {
      const text = title.charAt(0).toUpperCase() + title.slice(1)
      groups.push({ text, ...(groups.length > 0 && { collapsed: true }), items })
    }
    const prose = text.replaceAll(/^\|.*$/gm, "")
    outside.push(...linksIn(prose).map((link) => itemOf(index, link)))
  }
  const addresses = new Set(flat(groups).map(({ link }) => link))
  const project = outside.filter(({ link }) => !addresses.has(link))
  // Only CONTRIBUTING.md links to pages outside the documentation, such as `test/mutants.md`.
  const forContributors = linksIn(read(contributing)).flatMap((link) => {
    const { path } = targetOf(contributing, link.href)
    return pages.includes(path) && /^(?!docs|examples).*\//.test(path)
      ? [{ text: titleOf(path), link: addressOf(path) }]
      : []
  })
  groups.push({ text: "The project", collapsed: true, items: [...project, ...forContributors] })
  return groups
}

/** Makes a group for each table in `examples/README.md`. */
export const exampleGroups = (): ReadonlyArray<Group> => {
  const tables = read(examples).match(/(?:^\|.*\|[ \t]*\n)+/gm) ?? []
  return tables.flatMap((table) => {
    const [[title = ""] = [], ...rows] = rowsOf(table)
    const items = rows.flatMap(([cell = ""]) => linksIn(cell).map((link) => itemOf(examples, link)))
    return items.length > 0 ? [{ text: title.charAt(0).toUpperCase() + title.slice(1), collapsed: false, items }] : []
  })
}

export const flat = (groups: ReadonlyArray<Item | Group>): ReadonlyArray<Item> =>
  groups.flatMap((one) => [
    ...(one.link === undefined ? [] : [{ text: one.text, link: one.link }]),
    ...("items" in one ? flat(one.items) : [])
  ])

/** The pages that the navigation does not reach. */
export const unreachable = (): ReadonlyArray<string> => {
  const reached = new Set(flat([...documentation(), ...exampleGroups()]).map(({ link }) => link.replace(/#.*/, "")))
  return pages.filter((page) => !["README.md", index, examples].includes(page) && !reached.has(addressOf(page)))
}

/** The sections of the documentation, for the menu at the top. */
export const sectionItems = (): Array<Item> => [
  { text: "All pages", link: addressOf(index) },
  ...sectionsOf(index)
    .filter(({ heading }) => heading !== "")
    .map(({ heading }) => ({ text: heading, link: `${addressOf(index)}#${slugify(heading)}` }))
]
