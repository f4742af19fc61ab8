// Filters with counts. The page's URL holds the chosen options; a click triggers Python, which changes it.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let root = parentElement.querySelector(".facets")
  if (!root) {
    root = make("div", "facets")
    parentElement.append(root)
  }
  const active = root.getRootNode().activeElement?.dataset.what
  const scrolled = [...root.querySelectorAll(".list")].map(list => list.scrollTop)
  root.replaceChildren(...data.groups.map(group))
  root.querySelectorAll(".list").forEach((list, place) => { list.scrollTop = scrolled[place] ?? 0 })
  if (active) [...root.querySelectorAll("input")].find(input => input.dataset.what === active)?.focus()

  function group(group) {
    const set = make("fieldset")
    const list = make("div", "list")
    list.append(...group.options.map(option => row(group.name, option)))
    set.append(make("legend", "", group.title), list)
    return set
  }

  function row(name, option) {
    const row = make("label")
    const input = make("input")
    input.type = "checkbox"
    input.checked = option.chosen
    input.dataset.what = `${name} ${option.value}`
    input.onchange = () => setTriggerValue("choose", { name, value: option.value, chosen: input.checked })
    const dot = make("i")
    if (option.color) dot.style.background = option.color
    const text = make("span", "text", option.text)
    text.title = option.value
    row.append(input, dot, text, make("span", "count", option.count.toLocaleString("en")))
    return row
  }
}
