/// <reference types="vite/client" />
import { type Theme, useRoute } from "vitepress"
import DefaultTheme from "vitepress/theme-without-fonts"
import { nextTick, onMounted, watch } from "vue"
import "./style.css"
import { MermaidDiagram } from "./MermaidDiagram.ts"

/** Corrects labels and roles of the default theme for screen readers. */
const repair = (): void => {
  // Screen readers must not read the shortcut as part of the button's label. The style sheet draws the shortcut.
  for (const key of document.querySelectorAll(".DocSearch-Button-Key")) key.textContent = ""
  // In the sidebar, a group heading is a button. A button must not contain another button.
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
