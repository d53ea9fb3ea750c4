/** Links from the page of a circuit to other pages about it, such as its metrics. */
import { field, isRecord } from "../core/fields.ts"
import { filled, type Link, linkForm, toLink } from "./linkTemplate.ts"
import { bounded } from "./texts.ts"
import type { CircuitDetail } from "./view.ts"

const mostLinks = 10

export const linksField = field<ReadonlyArray<Link>>(
  `an object of at most ${mostLinks} links: each ${linkForm}`,
  (input) => {
    if (!isRecord(input)) return undefined
    const links = Object.entries(input).map(([title, url]) =>
      typeof url === "string" ? toLink(title, url) : undefined
    )
    const valid = links.filter((one) => one !== undefined)
    return valid.length === links.length && links.length <= mostLinks ? valid : undefined
  }
)

export const linksFor = (links: ReadonlyArray<Link>, name: string, key: string | undefined): CircuitDetail["links"] =>
  links.map(({ title, url }) => ({ title: bounded(title) ?? "", href: filled(url, name, key ?? "") }))
