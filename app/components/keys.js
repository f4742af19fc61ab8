// Keys that work on every page, wherever the focus is, but not while somebody types: / searches, r reviews.
const WAITED_MS = 5000 // for the Search page

const field = () => document.querySelector(".st-key-q input")

function toSearch() {
  if (!field()) document.querySelector("header a[href$='/search']")?.click()
  const until = performance.now() + WAITED_MS
  const enter = () => {
    if (field()) field().select()
    else if (performance.now() < until) requestAnimationFrame(enter)
  }
  enter()
}

// the link beside the filters leads to the files that pass them, and stands behind that of the navigation
const toReview = () => [...document.querySelectorAll("a[href*='/review']")].at(-1)?.click()

const ACTS = { "/": toSearch, r: toReview }

function press(event) {
  const at = event.composedPath()[0]
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (at.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]")) return
  if (!ACTS[event.key]) return
  event.preventDefault()
  ACTS[event.key]()
}

export default function () {
  window.addEventListener("keydown", press) // behind the pages' own keys, which listen to the document
  return () => window.removeEventListener("keydown", press)
}
