// Filters with counts. The page's URL holds the chosen options; a click triggers Python, which changes it.
const SEARCHED_FROM = 9 // a filter with so many options gets a search box
const SCORED = ["detector", "detector_label"] // filters by whose options the files can be sorted

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let root = parentElement.querySelector(".facets")
  if (!root) {
    root = make("div", "facets")
    root.sought = {} // filter -> the text in its search box
    parentElement.append(root)
  }
  const active = root.getRootNode().activeElement?.dataset.what
  const scrolled = [...root.querySelectorAll(".list")].map(list => list.scrollTop)
  root.replaceChildren(...data.groups.map(group))
  root.querySelectorAll(".list").forEach((list, place) => { list.scrollTop = scrolled[place] ?? 0 })
  if (active) [...root.querySelectorAll("[data-what]")].find(element => element.dataset.what === active)?.focus()

  function group(group) {
    const set = make("fieldset")
    const list = make("div", "list")
    list.append(...group.options.map(option => row(group.name, option)))
    set.append(make("legend", "", group.title))
    if (group.options.length >= SEARCHED_FROM) set.append(searchBox(group, list))
    set.append(list)
    list.onkeydown = event => move(event, list)
    enter(list)
    return set
  }

  function searchBox(group, list) {
    const box = make("input", "search")
    box.type = "search"
    box.placeholder = _("Find")
    box.setAttribute("aria-label", _("Find: {title}", { title: group.title }))
    box.dataset.what = `find ${group.name}`
    box.value = root.sought[group.name] ?? ""
    const narrow = () => {
      const sought = box.value.trim().toLowerCase()
      for (const row of list.children) row.hidden = !row.dataset.text.includes(sought) && !row.querySelector("input").checked
      enter(list)
    }
    box.oninput = () => { root.sought[group.name] = box.value; narrow() }
    narrow()
    return box
  }

  function row(name, option) {
    const row = make("div", "row")
    row.dataset.text = option.text.toLowerCase()
    const label = make("label")
    const input = make("input")
    input.type = "checkbox"
    input.checked = option.chosen
    input.dataset.what = `${name} ${option.value}`
    input.onchange = () => setTriggerValue("choose", { name, value: option.value, chosen: input.checked })
    const dot = make("i")
    if (option.color) dot.style.background = option.color
    const text = make("span", "text", option.text)
    text.title = name === "reason" ? option.text : option.value
    label.append(input, dot, text, make("span", "count", number(option.count)))
    row.append(label)
    if (data.sorts && SCORED.includes(name)) row.append(more("↓", _("Highest score of {option} first", { option: option.text }), "score_of", option.condition))
    if (option.condition) row.append(more("+", _("Only files with {option}, beside all other filters", { option: option.text }), "where", option.condition),
      more("−", _("Only files without {option}", { option: option.text }), "where", `!${option.condition}`))
    return row
  }

  function more(sign, title, name, value) {
    const add = button("more", sign, () => setTriggerValue("choose", { name, value, chosen: true }))
    add.title = title
    add.setAttribute("aria-label", title)
    add.tabIndex = -1
    return add
  }

  // one stop of the tab key in each list: its first tick, or its first option; the arrow keys move inside
  function enter(list) {
    const inputs = [...list.querySelectorAll(".row:not([hidden]) input")]
    const first = inputs.find(input => input.checked) ?? inputs[0]
    for (const input of inputs) input.tabIndex = input === first ? 0 : -1
  }

  function move(event, list) {
    const row = event.target.closest(".row")
    const rows = [...list.querySelectorAll(".row:not([hidden])")]
    const stops = [...row.querySelectorAll("input, button")]
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    const aside = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    const next = step ? rows[rows.indexOf(row) + step]?.querySelector("input") : aside ? stops[stops.indexOf(event.target) + aside] : null
    if (!step && !aside) return
    event.preventDefault()
    next?.focus()
  }
}
