/// <reference types="vite/client" />
import { type Theme, useRoute } from "vitepress"
import DefaultTheme from "vitepress/theme-without-fonts"
import { nextTick, onMounted, watch } from "vue"
import "./style.css"
import { MermaidDiagram } from "./MermaidDiagram.ts"

/** Mends what the default theme tells screen readers. */
const repair = (): void => {
  // The search button is named "Search". Its key is no part of its text: the style sheet draws it.
  for (const key of document.querySelectorAll(".DocSearch-Button-Key")) key.textContent = ""
  // The heading of a group in the sidebar is a button, which cannot contain another one.
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
