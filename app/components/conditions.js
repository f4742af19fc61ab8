// Conditions on files, each a group of alternatives that can be removed. Text is set as textContent.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let root = parentElement.querySelector(".conditions")
  if (!root) {
    root = make("ul", "conditions")
    root.setAttribute("aria-label", _("Conditions, all of which apply"))
    parentElement.append(root)
  }
  root.replaceChildren(...data.conditions.map(condition))

  function condition(alternatives, place) {
    const group = make("li")
    alternatives.forEach((text, n) => {
      if (n) group.append(make("span", "or", _("or")))
      const chip = make("span", "chip", text)
      chip.title = text
      const remove = button("remove", "×", () => setTriggerValue("remove", { condition: place, alternative: n }))
      remove.setAttribute("aria-label", _("Remove {condition}", { condition: text }))
      chip.append(remove)
      group.append(chip)
    })
    return group
  }
}
