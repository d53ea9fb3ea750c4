/**
 * Returns the first paragraph of a Markdown text as plain text, for search engines and for links in chats. The result has at most 200
 * characters. It has no straight quotes, because VitePress writes the result into an attribute without escaping.
 */
export const summary = (markdown: string): string => {
  const blocks = markdown.replaceAll(/^```[\s\S]*?^```$/gm, "").split(/\n{2,}/)
  const paragraph = blocks.find((block) => /^[\p{L}`[*]/u.test(block)) ?? ""
  const text = paragraph
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replaceAll(/[`*]/g, "")
    .replaceAll(/"([^"]*)"/g, "“$1”")
    .replaceAll(/["<>]/g, "")
    .replaceAll(/\s+/g, " ")
    .trim()
  return text.length > 200 ? `${text.slice(0, 197).trimEnd()}...` : text
}
