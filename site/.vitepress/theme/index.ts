/// <reference types="vite/client" />
import { type Theme, useRoute } from "vitepress"
import DefaultTheme from "vitepress/theme-without-fonts"
import { nextTick, onMounted, watch } from "vue"
import "./style.css"
import { MermaidDiagram } from "./MermaidDiagram.ts"

/** Repairs what screen readers read in the default theme. */
const repair = (): void => {
  // The label of the search button must not contain its key. The style sheet draws the key.
  for (const key of document.querySelectorAll(".DocSearch-Button-Key")) key.textContent = ""
  // The heading of a group in the sidebar is a button, and a button must not contain another button.
  for (const caret of document.querySelectorAll('.VPSidebarItem .item[role="button"] .caret')) {
    for (const attribute of ["role", "tabindex", "aria-label"]) caret.removeAttribute(attribute)
    caret.setAttribute("aria-hidden", "true")
  }
}

export default {
  extends: DefaultTheme,
  setup: () => {
    const route = useRoute()
    onMounted(repair)
    watch(
      () => route.path,
      () => nextTick(repair)
    )
  },
  enhanceApp: ({ app }) => {
    app.component("MermaidDiagram", MermaidDiagram)
  }
} satisfies Theme
