"""GET /v1/report: what is known of the files of a case, in HTML and PDF, for whom it is, and what is recorded."""

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image
from starlette.testclient import TestClient

from cluster.access.rules import AccessRules
from cluster.records import asset_id
from cluster.results.measured import FOLDER, Measure, Measured, save
from deployments.api.reports import routes
from tests.support.local_api import LocalApi
from tests.support.stored import commit, found, row

HOSTILE = '<img src=x onerror="alert(1)">\u202egpj.exe'
NOTE = "He is at the left.\n<script>alert(2)</script> #set text(red) $x$ *b* _i_"
RUSSIAN = "Доказательство"


def jpeg() -> bytes:
    """A picture of black and white stripes, each two pixels wide."""
    picture = Image.new("L", (320, 240))
    picture.putdata([255 * (x // 2 % 2) for _ in range(240) for x in range(320)])
    sink = io.BytesIO()
    picture.convert("RGB").save(sink, "JPEG", quality=95)
    return sink.getvalue()


class Files:
    """Files on disk, and their rows of results: what is changed here has changed since the analysis."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict] = []

    def add(self, name: str, *findings, job="scan-harbour", hashed=True, **more) -> str:
        """A file with its own bytes; returns its URI."""
        path = self.folder / name
        path.write_bytes(f"the bytes of {name}".encode())
        status, sha256 = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        known = {"etag": f"{status.st_size}-{status.st_mtime_ns}", "sha256": sha256 if hashed else None}
        new = row(path.as_uri(), *findings, job=job, unit=len(self.rows), **known, **more)
        self.rows.append(new | {"size": status.st_size})
        return path.as_uri()


@pytest.fixture(scope="module")
def places(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two cases, `harbour` and `other`, each with a folder; the first one's files are decided on and measured."""
    base = tmp_path_factory.mktemp("evidence")
    places = {name: base / name for name in ("harbour", "other", "more")}
    for folder in places.values():
        folder.mkdir()
    files = Files(places["harbour"])
    faces = [
        found("face", "face", 0.97, box=(0.1, 0.1, 0.2, 0.2)),
        found("face", "Ann", 0.61, evidence="distance 0.38"),
    ]
    files.add("a.jpg", *faces, answered=("nsfw",), thumbnail=jpeg(), width=640, height=480)
    files.add(f"{RUSSIAN}.mp4", found("whisper", "en", 0.93, span=(1.0, 3.0), text="from the harbour"), kind="video")
    files.add(HOSTILE, found("ocr", "text", 0.8, text=f"{HOSTILE} 证据"), hashed=False, thumbnail=b"no picture")
    files.add("torn.jpg", failures=[("decode", "the file ends early")])
    other = Files(places["other"])
    other.add("secret.jpg", found("face", "Bob", 0.9), job="scan-other")
    running.catalog.load(commit(base / "out", "a.parquet", *files.rows, *other.rows))
    return places


@pytest.fixture(scope="module")
def client(running: LocalApi, places: dict[str, Path]) -> Iterator[TestClient]:
    recall = Measure(name="recall", value=0.9, low=0.7, high=0.97, hits=18, of=20)
    facts = {"threshold": 0.5, "files_with": 20, "files_without": 30, "made_at": "2026-10-01", "labels": "l.jsonl"}
    measured = [
        Measured(detector=detector, model="m1", label=label, measures=(recall,), **facts)
        for detector, label in (("ocr", "text"), ("face", "Ann"), ("face", "Somebody Else"))
    ]
    save(running.audit.path.parent / FOLDER / "20261001", measured)
    with TestClient(running.app, headers=running.headers) as client:
        for name in ("harbour", "other"):
            new = {"name": name, "title": f"The {name}", "folders": [places[name].as_uri()]}
            assert client.post("/v1/cases", json=new).status_code == 200
        decided = f"/v1/assets/{asset_id((places['harbour'] / 'a.jpg').as_uri())}"
        for version, label in enumerate(("unsure", "relevant")):
            new = {"version": version, "label": label, "tags": ["car"], "note": NOTE}
            assert client.put(f"{decided}/decision", json=new).status_code == 200
        yield client
        for name in ("harbour", "other"):
            client.delete(f"/v1/cases/{name}")


def page(client: TestClient, **query: object) -> str:
    answer = client.get("/v1/report", params={"case": "harbour", **query})
    assert answer.status_code == 200, answer.text
    return answer.text


def words(pdf: bytes) -> str:
    """The text of a PDF, as if its lines were not broken."""
    document = pypdfium2.PdfDocument(pdf)
    return "".join(re.sub(r"\s+", "", sheet.get_textpage().get_text_range()) for sheet in document)


FACTS = [
    "The harbour",
    "role admin",
    "In the case",
    "4 files",
    "the file ends early",
    hashlib.sha256(b"the bytes of a.jpg").hexdigest(),
    hashlib.sha256(f"the bytes of {HOSTILE}".encode()).hexdigest(),
    "The results have no hash",
    f"{RUSSIAN}.mp4",
    "Ann",
    "0.61",
    "(distance 0.38)",
    "0:01 to 0:03",
    "from the harbour",
    "unsure",
    "relevant",
    "He is at the left.",
    "recall 0.90 (0.70 to 0.97), 18 of 20",
    "Error rates: not measured",
    "decided",
    "car",
    "case made",
    "Nothing was found",
]


def test_the_html_has_each_files_hash_findings_decisions_and_methods(client, running):
    text = page(client)
    assert [fact for fact in FACTS if fact not in text] == []
    assert running.audit.verify().last not in text  # that entry is the report's own
    assert list(running.audit.records())[-1]["previous"] in text
    assert "Somebody Else" not in text  # measured, but in none of these files


def test_the_pdf_has_the_same_facts(client):
    answer = client.get("/v1/report", params={"case": "harbour", "format": "pdf"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    text = words(answer.content)
    assert [fact for fact in FACTS if re.sub(r"\s", "", fact) not in text] == []


@pytest.mark.parametrize("format", ["html", "pdf"])
def test_hostile_names_texts_and_notes_are_only_text(client, format):
    answer = client.get("/v1/report", params={"case": "harbour", "format": format})
    text = words(answer.content) if format == "pdf" else answer.text
    shown = '<img src=x onerror="alert(1)">\\u202egpj.exe'
    if format == "pdf":
        assert re.sub(r"\s", "", shown) in text and re.sub(r"\s", "", NOTE) in text
        return
    assert "<img src=x" not in text and "<script" not in text and "\u202e" not in text
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;\\u202egpj.exe" in text
    assert "&lt;script&gt;alert(2)&lt;/script&gt; #set text(red)" in text


def test_the_html_loads_and_runs_nothing(client):
    text = page(client)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-") and "unsafe" not in policy
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert not re.findall(r'(?:src|href)="(?!data:image/jpeg)', text) and 'style="' not in text


def contrast(text: str) -> int:
    """The difference of the brightest and the darkest pixel of the report's one picture."""
    (picture,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', text)
    darkest, brightest = Image.open(io.BytesIO(base64.b64decode(picture))).convert("L").getextrema()
    return int(brightest) - int(darkest)  # type: ignore[arg-type]


def test_pictures_are_blurred_in_their_bytes_unless_they_are_wanted_plain(client):
    assert contrast(page(client)) < 20
    assert contrast(page(client, pictures="plain")) > 200
    assert "data:image" not in page(client, pictures="none")


def test_a_selection_is_told_in_words_and_narrows_the_files(client):
    text = page(client, where=["face:Ann>=0.5"], decision="relevant", failed=False)
    assert all(part in text for part in ("Ann by face, score from 0.50", "decided as relevant", "did not fail"))
    assert "a.jpg" in text and RUSSIAN not in text and "1 file<" in text


def test_a_report_is_recorded_with_its_hash_before_it_is_sent(client, running):
    answer = client.get("/v1/report", params={"case": "harbour", "label": "face", "format": "pdf"})
    record = list(running.audit.records())[-1]
    assert (record["what"], record["of"], record["files"]) == ("report made", "pdf", 1)
    assert record["sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert (record["filters"], record["pictures"]) == ("label=face&case=harbour", "blurred")
    assert answer.headers["content-disposition"] == 'attachment; filename="report-harbour.pdf"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert record["sha256"] in page(client)  # the next report has it in its chain of custody


def test_exports_of_the_case_are_in_its_chain_of_custody(client):
    client.get("/v1/export", params={"case": "harbour", "format": "csv", "where": "face:>=0.5"})
    client.get("/v1/export", params={"case": "other", "format": "csv", "label": "of another case"})
    text = page(client)
    assert "csv; where=face:&gt;=0.5; case=harbour" in text and "of another case" not in text


def test_more_reports_than_a_process_makes_have_to_wait(client, monkeypatch):
    monkeypatch.setattr(routes, "MOST", 0)
    answer = client.get("/v1/report")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")


def test_pictures_that_are_not_blurred_need_a_purpose_where_the_settings_demand_one(client, running, monkeypatch):
    demanded = running.ingress.settings.model_copy(update={"access": AccessRules(purpose_required=True)})
    monkeypatch.setattr(running.ingress, "settings", demanded)
    plain = {"case": "harbour", "pictures": "plain"}
    assert client.get("/v1/report", params=plain).status_code == 403
    assert client.get("/v1/report", params=plain, headers={"X-Purpose": "case 7"}).status_code == 200
    assert list(running.audit.records())[-1]["purpose"] == "case 7"
    assert client.get("/v1/report", params={"case": "harbour"}).status_code == 200


def test_a_caller_who_is_limited_to_another_case_gets_nothing_of_this_one(client, running, places):
    token = running.store.add_key("Eve", "reviewer", (places["other"].as_uri(),))
    eve = {"Authorization": f"Bearer {token}"}
    assert client.get("/v1/report", params={"case": "harbour"}, headers=eve).status_code == 404
    text = client.get("/v1/report", headers=eve).text
    assert "secret.jpg" in text and "Bob" in text
    assert "scan-other" not in text, "of a job that is not known it cannot be told that it read no other folders"
    assert "scan-other" in client.get("/v1/report").text
    assert not [word for word in ("harbour", "Ann", RUSSIAN, "a.jpg", "He is at", "label=face") if word in text]
    viewer = {"Authorization": f"Bearer {running.store.add_key('Vic', 'viewer')}"}
    assert client.get("/v1/report", headers=viewer).status_code == 403


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"label": "nothing"}, "no file passes"),
        ({"case": "harbour"}, "a report has 3 at most"),
        ({"format": "doc"}, "format"),
    ],
    ids=["none", "too many", "unknown format"],
)
def test_a_report_that_cannot_be_made_says_why_and_is_not_recorded(client, running, monkeypatch, query, reason):
    monkeypatch.setattr(routes, "MOST_FILES", 3)
    before = sum(1 for _ in running.audit.records())
    answer = client.get("/v1/report", params=query)
    assert answer.status_code == 422 and reason in answer.json()["detail"]
    assert sum(1 for _ in running.audit.records()) == before
    assert running.ingress.reporting.taken == 0


def test_files_that_have_changed_are_gone_or_were_touched_are_told(client, running, places):
    folder = places["more"]
    files = Files(folder)
    for name in ("changed.jpg", "gone.jpg", "touched.jpg", "same.jpg"):
        files.add(name, found("face", "face", 0.9))
    running.catalog.load(commit(folder.parent / "out", "b.parquet", *files.rows))
    (folder / "changed.jpg").write_bytes(b"other bytes")
    (folder / "gone.jpg").unlink()
    os.utime(folder / "touched.jpg", (1, 1))
    text = client.get("/v1/report", params={"under": folder.as_uri()}).text
    now = hashlib.sha256(b"other bytes").hexdigest()
    assert f"It has changed since it was analysed: the SHA-256 is now {now}." in text
    assert f"It cannot be read now: {(folder / 'gone.jpg').as_uri()} is not there." in text
    assert text.count("It was read for this report: the bytes are those that were analysed.") == 1
    assert text.count("Size and version are those that were analysed") == 1
    assert "Files that are not, or may not be, what was analysed: 2 of 4" in text
