"""Pages of a report as PDF, set by Typst from report.typ.

The pages are PDF/A-2u, for archives: every font is in the file, and every character can be copied from it. Typst runs
in child processes, as it keeps what it has set: 0.9 MB a file, until its process ends.
"""

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.storage.disks import temporary_folder
from deployments.reports.content import code, visible

TYPST_S = 120.0  # for one part
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

    Characters that no font has are written as their codes, as `visible` writes those that are not seen. So are marks
    that no font sets on the character before them.
    """
    texts = _mapped(values, visible)
    every = {sign for sign in json.dumps(texts, ensure_ascii=False) if not sign.isascii()}
    complaint = _set_coded(texts, _without_font(every), False, folder, to)
    if stacked := _named(complaint):
        complaint = _set_coded(texts, _without_font(every) | stacked, True, folder, to)
    if _named(complaint):
        complaint = _set_coded(texts, every, False, folder, to)
    if complaint:
        raise RuntimeError(f"Typst has not set the pages: {complaint.splitlines()[0]}")


def _without_font(signs: set[str]) -> set[str]:
    """Those of these characters that no font has. Typst names all of them, as PDF/A does not allow them."""
    if new := signs - _probed.keys():
        with temporary_folder("raysift-report-") as folder:
            missing = _named(_set(_PROBE, "".join(sorted(new)), folder, folder / "probe.pdf"))
        _probed.update({sign: sign not in missing for sign in new})
    return {sign for sign in signs if not _probed[sign]}


def _named(complaint: str) -> set[str]:
    """The characters that Typst could not display."""
    return {sign for found in _NO_FONT.findall(complaint) for sign in found}


def _set_coded(texts: Any, missing: set[str], with_marks: bool, folder: Path, to: Path) -> str:
    """As `_set`, with these characters as their codes; `with_marks`: also the marks on them."""
    coded = _mapped(texts, lambda text: text if missing.isdisjoint(text) else _coded(text, missing, with_marks))
    return _set(_TEMPLATE.read_text(), coded, folder, to)


def _coded(text: str, missing: set[str], with_marks: bool) -> str:
    signs, on_missing = [], False
    for sign in text:
        is_mark = unicodedata.category(sign).startswith("M")
        on_missing = on_missing if is_mark else sign in missing
        hidden = sign in missing or (with_marks and is_mark and on_missing)
        signs.append(code(sign) if hidden and not sign.isascii() else sign)
    return "".join(signs)


def _set(template: str, data: Any, folder: Path, to: Path) -> str:
    """Write the pages of a template that reads data.json. Returns why it could not be done, else nothing."""
    (folder / "report.typ").write_text(template)
    (folder / "data.json").write_text(json.dumps(data))
    child = [sys.executable, "-c", _CHILD, str(to)]
    done = subprocess.run(child, cwd=folder, capture_output=True, text=True, timeout=TYPST_S)
    return done.stdout if done.returncode == 0 else f"it has ended with {done.returncode}"


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with all its texts changed."""
    if isinstance(value, dict):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(part, change) for part in value]
    return change(value) if isinstance(value, str) else value
