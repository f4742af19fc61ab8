"""What keeps people from using a page: faults that axe finds, and controls that are cut off."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")
CONTRAST = "color-contrast"  # the rule that takes most of the time

# JavaScript: what is cut off at the window's sides, besides what scrolls by itself. The folded sidebar and the link
# that skips the navigation are outside of the window until they are wanted.
_CUT = """() => {
  const cut = []
  const root = document.scrollingElement, main = document.querySelector("[data-testid=stMain]")
  for (const [name, element] of [["document", root], ["main", main]])
    if (element && element.scrollWidth > element.clientWidth + 1) cut.push(`${name}: ${element.scrollWidth} px wide`)
  const scrolls = element => {
    for (let up = element; up && up !== main; up = up.parentElement ?? up.getRootNode().host)
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(up).overflowX) && up.scrollWidth > up.clientWidth + 1)
        return true
    return false }
  const unwanted = "[data-testid=stSidebar][aria-expanded=false] *, a[href='#stMain']"
  const controls = "a[href], button, input, select, textarea, summary, [role=button], [role=slider], [role=combobox]"
  const walk = node => { for (const element of node.querySelectorAll("*")) {
    if (element.shadowRoot && !element.matches(unwanted)) walk(element.shadowRoot)
    if (!element.matches(controls) || element.matches(unwanted)) continue
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue
    const box = element.getBoundingClientRect()
    if (box.width < 2 || box.height < 2 || scrolls(element)) continue
    if (box.left < -1 || box.right > innerWidth + 1)
      cut.push(`${element.tagName} ${element.textContent.trim() || element.ariaLabel}: ${box.left} to ${box.right}`) } }
  walk(document)
  return cut }"""


def faults(page: Page, contrast: bool | None = None) -> list[str]:
    """The serious faults that axe finds, with their elements. `contrast`: those of contrast only, or all but those."""
    rules: dict[str, Any] = {}
    if contrast is True:
        rules = {"runOnly": {"type": "rule", "values": [CONTRAST]}}
    elif contrast is False:
        rules = {"rules": {CONTRAST: {"enabled": False}}}
    found = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['html'][:200]} {node['failureSummary'][:300]}"
        for fault in found
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


def cut_off(page: Page) -> list[str]:
    """What makes a page scroll sideways, and controls outside of the window."""
    return page.evaluate(_CUT)
