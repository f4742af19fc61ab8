// Keys that work on every page, but not while somebody types: / leads to the search field, r to the review.
const WAITED_MS = 5000 // for the Search page

const field = () => document.querySelector(".st-key-q input:enabled")
let typed = null // what is typed while the Search page is coming: {text, entered}

function toSearch() {
  const link = document.querySelector("a[href$='/search']")
  if (!field() && !link) return
  if (!field()) link.click()
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
function toReview() {
  if (location.pathname.endsWith("/review")) return // that link would lead to all files
  const links = document.querySelectorAll("a[href*='/review'], a[href^='review']")
  links[links.length - 1]?.click()
}

function isPlain(event) {
  const at = event.composedPath()[0]
  const types = at.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]")
  return !types && !event.ctrlKey && !event.metaKey && !event.altKey
}

// before all others: Streamlit would run the page again at an r
function first(event) {
  if (!isPlain(event)) return
  if (typed && event.key === "Enter") typed.entered = true
  else if (typed && event.key.length === 1) typed.text += event.key
  else if (event.key === "r") toReview()
  else return
  event.preventDefault()
  event.stopImmediatePropagation()
}

// after the keys of the page, which listen to the document: a file's page searches in what was said
function last(event) {
  if (event.key !== "/" || event.defaultPrevented || !isPlain(event)) return
  event.preventDefault()
  toSearch()
}

export default function () {
  window.addEventListener("keydown", first, true)
  window.addEventListener("keydown", last)
  return () => {
    window.removeEventListener("keydown", first, true)
    window.removeEventListener("keydown", last)
  }
}
