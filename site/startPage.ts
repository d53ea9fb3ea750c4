/** Makes the start page from the README. The text before its first section becomes a hero. Adds the questions of `docs/README.md`. */
import { questionsHeading, rowsOf, sectionsOf } from "./navigation.ts"
import { linksIn } from "./repository.ts"

const questions = (): string => {
  const section = sectionsOf("docs/README.md").find(({ heading }) => heading === questionsHeading)
  const [, ...rows] = rowsOf(section?.text ?? "")
  if (rows.length === 0) throw new Error(`docs/README.md: there is no table of questions under "${questionsHeading}"`)
  return rows
    .map(([question = "", answer = ""]) => {
      const [link] = linksIn(answer)
      if (link === undefined) throw new Error(`docs/README.md: the question "${question}" has no link to its answer`)
      return `- [${question}](docs/${link.href})`
    })
    .join("\n")
}

export const startPage = (readme: string, actions: ReadonlyArray<string>): string => {
  const [head = "", ...sections] = readme.split(/^(?=## )/m)
  const picture = /<picture>.*?<\/picture>/s.exec(head)
  const [title = ""] = /^# .*$/m.exec(head) ?? []
  const [start, ...more] = sections
  if (picture === null || title === "" || start === undefined) {
    throw new Error("README.md: expected a title, a <picture> before the first section, and a section")
  }
  const lead = head.slice(head.indexOf(title) + title.length, picture.index).trim()
  const [caption = "", ...rest] = head
    .slice(picture.index + picture[0].length)
    .trim()
    .split(/\n{2,}/)
  const isList = (block: string): boolean => block.startsWith("- ")
  const name = title.replace(/^# /, "")
  return [
    "---",
    "layout: home",
    `title: ${name}`,
    "titleTemplate: A circuit breaker and resilience library for Effect",
    "---",
    "",
    '<div class="hero"><div class="hero-text">',
    title,
    lead,
    `<div class="actions">`,
    actions.join("\n"),
    "</div></div>",
    '<div class="hero-picture">',
    picture[0],
    caption,
    "</div></div>",
    '<div class="points">',
    rest.filter(isList).join("\n\n"),
    "</div>",
    start.trim(),
    rest.filter((block) => !isList(block)).join("\n\n"),
    `## ${questionsHeading}`,
    '<div class="questions">',
    questions(),
    "</div>",
    more.join("").trim()
  ].join("\n\n")
}
