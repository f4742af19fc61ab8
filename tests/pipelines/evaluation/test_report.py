"""The report of an evaluation: one page that loads nothing and runs nothing that came out of a file."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from pipelines.evaluation import report
from pipelines.evaluation.verdicts import plain
from tests.support.judging import jpeg, judged, said
from tests.support.stored import commit, found, row


class Page(HTMLParser):
    """The tags and the text of a page, as a browser parses it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


HOSTILE = '<img src=x onerror="alert(1)">\u202egpj.exe</title><script>alert(2)</script>'


def hostile(folder: Path):
    name = HOSTILE.replace("/", "_")
    texts = found("ocr", "text", 0.9, text=HOSTILE), found("nsfw", "nsfw", 0.9, evidence=HOSTILE)
    commit(folder, "a.parquet", row(f"s3://b/{name}", *texts, thumbnail=jpeg()))
    return judged(folder, said(name, ocr={"text": "<b>right</b>"}, nsfw={"nsfw": False}), base_rate=0.001)


def test_text_from_files_is_escaped_in_the_report(tmp_path):
    page = Page(report.html(hostile(tmp_path)))
    kinds = {tag for tag, _ in page.tags}
    assert "script" not in kinds and not any(name.startswith("on") for _, of in page.tags for name in of)
    assert '<img src=x onerror="alert(1)">\N{REPLACEMENT CHARACTER}gpj.exe' in page.text
    assert "\u202e" not in page.text


def test_the_report_is_one_file_without_external_resources(tmp_path):
    html = report.html(hostile(tmp_path))
    page = Page(html)
    sources = [of[name] for _, of in page.tags for name in ("src", "href", "srcset") if name in of]
    assert sources and all(one.startswith(("data:image/jpeg;base64,", "#n")) for one in sources)
    assert not re.search(r"url\(|@import", html)
    assert any("default-src 'none'" in (of.get("content") or "") for _, of in page.tags)


def test_every_picture_is_blurred_until_it_is_clicked(tmp_path):
    html = report.html(hostile(tmp_path))
    pictures = html.count("<img ")
    assert pictures and len(re.findall(r'<label class="veil"><input type="checkbox"[^>]*><img ', html)) == pictures
    assert re.search(r"\.veil img \{[^}]*filter: blur", html)


def test_json_has_neither_pictures_nor_nan(tmp_path):
    told = json.loads(json.dumps(plain(hostile(tmp_path)), allow_nan=False))
    nsfw = next(one for one in told["judged"] if one["detector"] == "nsfw")
    recall = nsfw["presence"]["recall"]
    assert (recall["value"], recall["of"], recall["why"]) == (None, 0, "no file is labelled to have it")
    assert "thumbnail" not in json.dumps(told)
