"""The Cluster page: detectors, GPUs, nodes and jobs, what is not known now, and who sees it."""

import re
import time
from collections.abc import Iterator

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app.upkeep import cluster, queues
from cluster.access.api_types import Viewer
from cluster.upkeep.api_types import ClusterState
from tests.support.fakes.api import FakeApi
from tests.support.fakes.upkeep import BUSY, SILENT
from tests.support.pages import Visit, served, words


def tables(at: AppTest) -> str:
    """The text of the tables, cell by cell."""
    bodies = "\n".join(element.proto.body for element in at.get("html") if "<table>" in element.proto.body)
    return re.sub(r"(<[^>]+>\s*)+", "|", bodies)


@pytest.fixture
def asked(api: FakeApi, visit: Visit) -> Iterator[AppTest]:
    yield visit("cluster", port=api.port)  # type: ignore[attr-defined]


def test_detectors_gpus_nodes_and_jobs_are_shown(asked: AppTest):
    text = tables(asked)
    assert "|face|ok|It answers its example.|2|0|1|12.5|25%|2.0 GB|" in text
    assert "|ocr|busy|Its example waits behind other calls.|it has worked on a call for 12 s|1|7|2|1.5|0%|-|" in text
    assert "|NVIDIA L4 0|10.0.0.1|18.0 GB of 24.0 GB|85%|" in text
    assert "|head &lt;b&gt;|10.0.0.1, head|runs|42% of 16|2 GPUs|40.0 GB of 128.0 GB|" in text
    assert "|worker-7|10.0.0.7|gone|-|-|-|-|" in text
    assert "Jobs&#58; 3 waiting, 1 running · 6&#46;2 files a second" in words(asked)
    assert "127&#46;0&#46;0&#46;1&#58;8265" in words(asked) and not asked.warning


def test_the_reason_of_a_failing_detector_is_shown_as_text(asked: AppTest):
    assert "failing|it does not answer: OutOfMemoryError &lt;b&gt;|" in tables(asked)


def test_without_gpus_a_sentence_takes_the_place_of_the_table(visit: Visit, api: FakeApi):
    api.upkeep.state = BUSY.model_copy(update={"cards": (), "jobs": {"waiting": 0}})
    at = visit("cluster", port=api.port)  # type: ignore[attr-defined]
    assert "No node has a GPU that Ray knows" in words(at) and "NVIDIA" not in tables(at)
    assert "No job waits or runs" in words(at)


def test_what_could_not_be_asked_is_said_and_the_rest_is_shown(visit: Visit, api: FakeApi):
    api.upkeep.state = SILENT
    at = visit("cluster", port=api.port)  # type: ignore[attr-defined]
    said = [warning.value for warning in at.warning]
    assert len(said) == 3 and "does not list its nodes" in said[0].replace("&#39;", "'")
    assert "|face|not known now|-|-|-|-|-|-|" in tables(at)
    assert "Jobs&#58; not known now" in words(at) and "Which GPUs there are is not known now" in words(at)


def test_nodes_whose_metrics_are_missing_are_named(visit: Visit, api: FakeApi):
    api.upkeep.state = BUSY.model_copy(update={"silent": ("10.0.0.7:8080",)})
    (warning,) = visit("cluster", port=api.port).warning  # type: ignore[attr-defined]
    assert "10&#46;0&#46;0&#46;7&#58;8080" in warning.value


def test_without_detectors_the_page_says_so(visit: Visit, api: FakeApi):
    api.upkeep.state = BUSY.model_copy(update={"detectors": ()})
    assert "No detector is served" in words(visit("cluster", port=api.port))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("role", "sees"), [("operator", True), ("reviewer", False)])
def test_the_page_is_in_the_navigation_of_those_who_may_see_it(visit: Visit, role: str, sees: bool):
    with served(FakeApi(role=role)) as port:  # type: ignore[arg-type]
        at = visit(port=port)
        if sees:
            assert tables(at.switch_page("views/cluster.py").run())
        else:
            with pytest.raises(ValueError, match="navigation page"):
                at.switch_page("views/cluster.py")


def test_an_operator_of_some_cases_does_not_see_it(visit: Visit, api: FakeApi, monkeypatch: pytest.MonkeyPatch):
    who = Viewer(name="Ann", role="operator", prefixes=("s3://evidence",))
    monkeypatch.setattr("app.page.viewer", lambda: who)
    with pytest.raises(ValueError, match="navigation page"):
        visit("cluster", port=api.port)  # type: ignore[attr-defined]


@pytest.mark.parametrize("view", ["cluster", "settings"])
def test_when_the_api_goes_away_the_pages_say_so_and_come_back(visit: Visit, view: str):
    with served(FakeApi()) as port:
        at = visit(view, port=port)
        assert tables(at)
    for _ in range(2):  # as long as it is away
        st.cache_data.clear()
        at.run()
        assert words(at).count("does not answer at") == 1 and "Traceback" not in words(at)
    with served(FakeApi(), port):
        at.run()
        assert "does not answer at" not in words(at) and tables(at)


def test_the_page_keeps_calls_of_the_last_minutes(monkeypatch: pytest.MonkeyPatch):
    kept: dict[str, object] = {}
    monkeypatch.setattr("app.upkeep.queues.st.session_state", kept)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert ("ocr", 9) in {point[1:] for point in queues.keep(BUSY)}
    monkeypatch.setattr(time, "time", lambda: 1000.0 + queues.KEPT_S + 1)
    unread: ClusterState = BUSY.model_copy(update={"unread": ("metrics",)})
    assert queues.keep(unread) == [], "old points go, and none is added of metrics that were not read"


def test_metrics_that_are_being_read_are_no_fault():
    state: ClusterState = BUSY.model_copy(update={"unread": ("metrics",), "age_s": None})
    assert cluster.gaps(state) == ["The nodes' metrics are being read: queues, GPUs and rates come in a few seconds."]
    assert "missing or old" in cluster.gaps(state.model_copy(update={"age_s": 40.0}))[0]
