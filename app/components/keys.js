// Keys that work on every page, but not while somebody types: / leads to the search field, r to the review.
const WAITED_MS = 5000 // for the Search page

const field = () => document.querySelector(".st-key-q input:enabled")
let typed = null // what is typed while the Search page is coming: {text, entered}

function toSearch() {
  if (!field()) document.querySelector("header a[href$='/search']")?.click()
  typed = { text: "", entered: false }
  const until = performance.now() + WAITED_MS
  const enter = () => {
    const there = field()
    if (!there && performance.now() < until) return requestAnimationFrame(enter)
    const { text, entered } = typed
    typed = null
    if (!there) return
    there.focus()
    there.select()
    if (text) document.execCommand("insertText", false, text) // as if it was typed now
    if (entered) there.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }))
  }
  enter()
}

// the link beside the filters leads to the files that pass them, and stands behind that of the navigation
const toReview = () => [...document.querySelectorAll("a[href*='/review'], a[href^='review']")].at(-1)?.click()

const ACTS = { "/": toSearch, r: toReview }

function keep(event) {
  if (!typed || event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === "Enter") typed.entered = true
  else if (event.key.length === 1) typed.text += event.key
  else return
  event.preventDefault()
  event.stopImmediatePropagation()
}

function press(event) {
  const at = event.composedPath()[0]
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (at.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]")) return
  if (!ACTS[event.key]) return
  event.preventDefault()
  ACTS[event.key]()
}

export default function () {
  window.addEventListener("keydown", keep, true)
  window.addEventListener("keydown", press) // behind the pages' own keys, which listen to the document
  return () => {
    window.removeEventListener("keydown", keep, true)
    window.removeEventListener("keydown", press)
  }
}
