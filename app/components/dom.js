// DOM helpers of the components. Text comes from files and is untrusted: it is set as textContent, never as HTML.
const PATHS = {
  audio: "M4 10v4M8 6v12M12 3v18M16 7v10M20 10v4",
  video: "M3 5h18v14H3zM10 9l5 3-5 3z",
  image: "M3 5h18v14H3zM3 16l5-5 4 4 3-3 6 5",
  unknown: "M6 2h8l5 5v15H6zM14 2v5h5",
  alike: "M4 4h11v11H4zM9 15v5h11V9h-5",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
}

function make(tag, name, text) {
  const element = document.createElement(tag)
  if (name) element.className = name
  if (text !== undefined && text !== "") element.textContent = text
  return element
}

function icon(kind) {
  const space = "http://www.w3.org/2000/svg"
  const svg = document.createElementNS(space, "svg")
  const path = document.createElementNS(space, "path")
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor",
    "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" })) svg.setAttribute(key, value)
  path.setAttribute("d", PATHS[kind] ?? PATHS.unknown)
  svg.append(path)
  return svg
}

function button(name, text, act) {
  const element = make("button", name, text)
  element.type = "button"
  element.onclick = act
  return element
}

// Navigates to another page of the app without a reload: Streamlit handles the event as the browser's back or forward.
// st.switch_page would add a second history entry, with the parameters of one page at the path of the other.
function follow(event, href) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return // the browser opens a new tab or window
  event.preventDefault()
  history.pushState({}, "", href)
  dispatchEvent(new PopStateEvent("popstate", { state: {} }))
}
