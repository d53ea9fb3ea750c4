import type { Mermaid } from "mermaid"
import { useData, withBase } from "vitepress"
import { defineComponent, h, onMounted, ref, watch } from "vue"

let drawn = 0

/** Mermaid has one global configuration, so the page draws diagrams one after the other. */
let last: Promise<unknown> = Promise.resolve()

let loading: Promise<Mermaid> | undefined

/** Loads Mermaid from a static file. Bundling Mermaid would take longer than building all pages. */
const load = (): Promise<Mermaid> => {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script")
    script.type = "module"
    script.src = withBase("/mermaid/start.mjs")
    script.onload = () => resolve((globalThis as unknown as { mermaid: Mermaid }).mermaid)
    script.onerror = () => reject(new Error("Mermaid could not be loaded"))
    document.head.append(script)
  })
  return loading
}

const fontFamily = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'

const light = {
  background: "#ffffff",
  primaryColor: "#e7eefc",
  primaryBorderColor: "#2456c8",
  primaryTextColor: "#16191f",
  secondaryColor: "#f1e9fb",
  tertiaryColor: "#f6f7f9",
  lineColor: "#4d5663",
  textColor: "#16191f",
  edgeLabelBackground: "#f6f6f7",
  noteBkgColor: "#fff2d9",
  noteTextColor: "#6b4300",
  noteBorderColor: "#d9a441",
  gridColor: "#c3cad4",
  doneTaskBkgColor: "#bfe3cd",
  doneTaskBorderColor: "#1d7f46",
  critBkgColor: "#f6c4c0",
  critBorderColor: "#c8281e",
  taskBkgColor: "#cdbdea",
  taskBorderColor: "#5b2a86",
  taskTextColor: "#16191f",
  taskTextDarkColor: "#16191f",
  taskTextOutsideColor: "#16191f",
  activeTaskBkgColor: "#f3d9a0",
  activeTaskBorderColor: "#a86100",
  sectionBkgColor: "#eef1f5",
  altSectionBkgColor: "#ffffff"
}

const dark: typeof light = {
  background: "#0f1217",
  primaryColor: "#1c2b4a",
  primaryBorderColor: "#8fb4ff",
  primaryTextColor: "#e8ebf0",
  secondaryColor: "#2c2140",
  tertiaryColor: "#181c23",
  lineColor: "#9aa5b4",
  textColor: "#e8ebf0",
  edgeLabelBackground: "#181c23",
  noteBkgColor: "#3a2c10",
  noteTextColor: "#ffd591",
  noteBorderColor: "#a8762a",
  gridColor: "#3a424e",
  doneTaskBkgColor: "#1e4a33",
  doneTaskBorderColor: "#5fd08f",
  critBkgColor: "#5f221e",
  critBorderColor: "#ff7a70",
  taskBkgColor: "#46326b",
  taskBorderColor: "#c69bff",
  taskTextColor: "#e8ebf0",
  taskTextDarkColor: "#e8ebf0",
  taskTextOutsideColor: "#e8ebf0",
  activeTaskBkgColor: "#4d3a14",
  activeTaskBorderColor: "#ffb454",
  sectionBkgColor: "#1d232c",
  altSectionBkgColor: "#181c23"
}

const draw = async (code: string, isDark: boolean): Promise<string> => {
  const mermaid = await load()
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    theme: "base",
    fontFamily,
    layout: "dagre",
    flowchart: { nodeSpacing: 40, rankSpacing: 40 },
    gantt: { useWidth: 760, leftPadding: 96, barHeight: 26, fontSize: 13, sectionFontSize: 13 },
    themeVariables: { ...(isDark ? dark : light), darkMode: isDark, fontFamily }
  })
  const { svg } = await mermaid.render(`diagram-${drawn++}`, code)
  // On a narrow screen, readers scroll the diagram. Otherwise its text is too small to read.
  const width = Number(/max-width: ([\d.]+)px/.exec(svg)?.[1] ?? 0)
  return (
    svg
      .replace('style="', `style="min-width: ${Math.round(width * 0.6)}px; `)
      // The parent element has the role and the label.
      .replace(/role="[^"]*"/, 'aria-hidden="true"')
  )
}

/** Draws a diagram in the browser. Before that, and without scripts, the page shows the source of the diagram. */
export const MermaidDiagram = defineComponent({
  props: { code: { type: String, required: true }, label: { type: String, required: true } },
  setup: (props) => {
    const { isDark } = useData()
    const svg = ref("")
    const source = decodeURIComponent(props.code)
    const redraw = () => {
      const scheme = isDark.value
      last = last.then(async () => {
        const picture = await draw(source, scheme)
        if (scheme === isDark.value) svg.value = picture
      })
    }
    onMounted(redraw)
    watch(isDark, redraw)
    return () =>
      svg.value === ""
        ? h("div", { class: "diagram waiting" }, [h("pre", { tabindex: 0 }, source)])
        : h("div", { class: "diagram", role: "img", "aria-label": props.label, tabindex: 0, innerHTML: svg.value })
  }
})
