"""A page by the Tab key alone: where the focus goes, whether it shows, and whether it comes out again."""

from typing import NamedTuple

from playwright.sync_api import Page, expect

MOST_STOPS = 400
# they draw on themselves what has the focus: a table its cell, a player its button
_PAINT_THEMSELVES = ("CANVAS", "TD", "VIDEO", "AUDIO")

# JavaScript: go on from the element that had the focus, and say where it is now: a name, whether the page has begun
# anew, and of the element before whether it looked any different with the focus.
_STOP = """() => {
  let element = document.activeElement
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement
  const around = of => {
    const all = [of, ...of.querySelectorAll("*"), ...(of.parentElement?.children ?? [])].slice(0, 16)
    for (let up = of.parentElement, n = 0; up && n < 4; up = up.parentElement, n++) all.push(up)
    return all.map(one => { const style = getComputedStyle(one)
      return [style.outline, style.boxShadow, style.border, style.backgroundColor, style.color, style.opacity,
        style.textDecoration, style.transform, style.visibility].join() }).join() }
  const before = window.walked ?? {}
  const hidden = before.element?.isConnected && around(before.element) === before.look ? before.name : ""
  const over = !element || element === document.body
  const name = over ? "" : [element.tagName, element.getAttribute("aria-label") || element.textContent.trim()
    || element.getAttribute("placeholder") || element.id || element.className].join(" ").slice(0, 80)
  const again = element === before.element
  window.walked = over ? {} : { element, name, look: around(element) }
  return [name, hidden, again] }"""


class Walk(NamedTuple):
    """What the Tab key led to, in its order; those whose look told nothing; and whether it came to the end."""

    stops: list[str]
    unseen: list[str]
    is_over: bool


def walk(page: Page) -> Walk:
    """Press Tab from the beginning of a page until its end, or until it leads nowhere."""
    page.add_style_tag(content="*, *::before, *::after { transition: none !important }")  # looks change at once
    page.evaluate("() => { window.walked = {}; document.activeElement?.blur(); getSelection().removeAllRanges() }")
    stops, unseen, same = list[str](), list[str](), 0
    while len(stops) < MOST_STOPS:
        page.keyboard.press("Tab")
        name, hidden, again = page.evaluate(_STOP)
        if hidden and not hidden.startswith(_PAINT_THEMSELVES):
            unseen.append(hidden)
        same = same + 1 if again else 0
        if not name or same > 20:
            return Walk(stops, unseen, not name)
        stops.append(name)
    return Walk(stops, unseen, False)


def fold_out_and_in(page: Page) -> list[str]:
    """Open each popover by Enter and close it by Escape; returns the names of those that open and give the focus back.

    Fails if Escape leads away from the page, as it does from a file to its list.
    """
    names = []
    for button in page.get_by_test_id("stPopoverButton").all():
        if button.is_enabled():
            address = page.url
            button.focus()
            page.keyboard.press("Enter")
            body = page.get_by_test_id("stPopoverBody")
            expect(body).to_be_visible()
            page.keyboard.press("Escape")
            expect(body).to_have_count(0)
            expect(button).to_be_focused()
            assert page.url == address
            names.append(button.inner_text())
    return names
