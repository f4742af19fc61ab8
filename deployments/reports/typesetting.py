"""Pages of a report as PDF, set by Typst from report.typ.

The pages are PDF/A-2u, for archives: every font is in the file, and every character can be copied from it. Typst runs
in child processes, as it keeps what it has set: 0.9 MB a file, until its process ends.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cluster.storage.disks import temporary_folder
from deployments.reports.content import code, visible

TRIES, TYPST_S = 4, 120.0
_TEMPLATE = Path(__file__).with_name("report.typ")
_PROBE = (
    '#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"))\n#for sign in json("data.json").codepoints() [#sign\\ ]'
)
_NO_FONT = re.compile(r'the text `"(.+?)"` could not be displayed', re.DOTALL)
# what the child runs: it prints nothing, or why the pages could not be set
_CHILD = """import sys, typst
try:
    typst.compile("report.typ", output=sys.argv[1], root=".", pdf_standards="a-2u")
except typst.TypstError as error:
    print(error.diagnostic)"""

_probed: dict[str, bool] = {}  # character -> whether there is a font that has it, in this process


def typeset(values: dict[str, Any], folder: Path, to: Path) -> None:
    """Write the pages that report.typ makes of these values. Pictures are files of the folder; no other file is read.

    Characters that no font has are written as their codes, as `visible` writes those that are not seen.
    """
    texts = _mapped(values, visible)
    missing = _without_font(json.dumps(texts, ensure_ascii=False))
    for _ in range(TRIES):
        if missing:
            texts = _mapped(texts, _coder(missing))
        complaint = _set(_TEMPLATE.read_text(), texts, folder, to)
        missing = set(_NO_FONT.findall(complaint))  # signs that fonts have one by one, but not together
        if not missing:
            break
    if complaint:
        raise RuntimeError(f"Typst has not set the pages: {complaint.splitlines()[0]}")


def _without_font(text: str) -> set[str]:
    """The characters of the text that no font has. Typst names all of them, as PDF/A does not allow them."""
    signs = {sign for sign in text if not sign.isascii()}
    if new := signs - _probed.keys():
        with temporary_folder("raysift-report-") as folder:
            complaint = _set(_PROBE, "".join(sorted(new)), folder, folder / "probe.pdf")
        missing = {sign for found in _NO_FONT.findall(complaint) for sign in found}
        _probed.update({sign: sign not in missing for sign in new})
    return {sign for sign in signs if not _probed[sign]}


def _set(template: str, data: Any, folder: Path, to: Path) -> str:
    """Write the pages of a template that reads data.json. Returns why it could not be done, else nothing."""
    (folder / "report.typ").write_text(template)
    (folder / "data.json").write_text(json.dumps(data))
    child = [sys.executable, "-c", _CHILD, str(to)]
    done = subprocess.run(child, cwd=folder, capture_output=True, text=True, timeout=TYPST_S)
    return done.stdout if done.returncode == 0 else f"it has ended with {done.returncode}"


def _coder(missing: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces these characters, and sequences of characters, in a text by their codes."""
    pattern = re.compile("|".join(map(re.escape, sorted(missing, key=len, reverse=True))))
    coded = lambda found: "".join(sign if sign.isascii() else code(sign) for sign in found[0])  # noqa: E731
    return lambda text: pattern.sub(coded, text)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with all its texts changed."""
    if isinstance(value, dict):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(part, change) for part in value]
    return change(value) if isinstance(value, str) else value
