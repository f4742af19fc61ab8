"""Tables of the pages Cluster and Settings: HTML, whose text can be read, copied and searched like any other."""

import html
import re
from collections.abc import Sequence

import streamlit as st

_CELLS = """<style>
.upkeep { overflow-x: auto }
.upkeep table { width: 100%; border-collapse: collapse; margin: 0 }
.upkeep th { text-align: left; font-weight: 600; white-space: nowrap }
.upkeep th, .upkeep td { padding: 0.35rem 0.7rem 0.35rem 0; border: 0;
  border-bottom: 1px solid rgba(128, 128, 128, 0.25); vertical-align: top;
  min-width: 3.5rem; max-width: 26rem; overflow-wrap: break-word }
.upkeep .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.upkeep .bar { display: inline-block; width: 4.5rem; height: 0.55rem; margin-right: 0.5rem; border-radius: 2px;
  background: rgba(128, 128, 128, 0.25); overflow: hidden }
.upkeep .bar i { display: block; height: 100%; background: #2b8ba3 }
.upkeep .bar i.full { background: #d55e00 }
.upkeep small { opacity: 0.75 }
.upkeep .state { white-space: nowrap }
.upkeep .state::before { content: ""; display: inline-block; width: 0.6rem; height: 0.6rem; border-radius: 50%;
  margin-right: 0.45rem; background: #93a1a8 }
.upkeep .good::before { background: #00a87e }
.upkeep .warn::before { background: #e69f00 }
.upkeep .bad::before { background: #d55e00 }
</style>"""
_SPACE = re.compile(r"[ \t\r\n\f\v]+")  # a percentage keeps its narrow space
FULL = 0.9  # a share that is marked


class Html(str):
    """Text that is HTML already; all other text is escaped."""


def text(value: str) -> Html:
    """Escaped text on one line."""
    return value if isinstance(value, Html) else Html(html.escape(_SPACE.sub(" ", value)))


def small(first: str, *others: str) -> Html:
    """A line, and further ones below it in small letters; empty ones are left out."""
    below = "".join(f"<br><small>{text(other)}</small>" for other in others if other)
    return Html(f"{text(first)}{below}")


def share(of: float | None, words: str) -> Html:
    """A bar for a share from 0 to 1, with its text; only the text if it is unknown."""
    if of is None:
        return text(words)
    full = ' class="full"' if of >= FULL else ""
    width = f"{min(1.0, max(0.0, of)):.0%}"
    return Html(f'<span class="bar" aria-hidden="true"><i{full} style="width:{width}"></i></span>{text(words)}')


def state(word: str, kind: str) -> Html:
    """A state with a dot. `kind`: good, warn, bad or empty."""
    return Html(f'<span class="state {kind}">{text(word)}</span>')


def styles() -> None:
    """Draw the styles of the tables, once a page."""
    st.html(_CELLS)


def draw(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Draw a table. `name`: what it is, for screen readers. `numbers`: the columns that are aligned to the right."""

    def cell(tag: str, place: int, value: str) -> str:
        kind = ' class="number"' if place in numbers else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{kind}{scope}>{text(value)}</{tag}>"

    head = "".join(cell("th", place, column) for place, column in enumerate(columns))
    body = "".join(f"<tr>{''.join(cell('td', place, value) for place, value in enumerate(row))}</tr>" for row in rows)
    label = html.escape(name, quote=True)
    # a table that is wider than the screen is scrolled by the keyboard too
    st.html(
        f'<div class="upkeep" tabindex="0" role="region" aria-label="{label}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def lines(values: Sequence[str]) -> Html:
    """Values below each other."""
    return Html("<br>".join(map(text, values)))
