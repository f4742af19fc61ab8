"""The token of Chroma: that of the settings, or one made from Ray's token, which every node has."""

import pytest

from cluster.chroma_guard.credential import chroma_token
from cluster.errors import SettingsError
from cluster.processes import Processes
from cluster.settings import ChromaListener, Settings


@pytest.fixture(autouse=True)
def no_token_of_this_machine(monkeypatch, tmp_path):
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_all_nodes_of_a_cluster_make_the_same_token_and_other_clusters_another(tmp_path, monkeypatch):
    head, node = Settings(state_dir=tmp_path / "head"), Settings(state_dir=tmp_path / "node")
    head.state_dir.mkdir()
    (head.state_dir / "ray_token").write_text("the token of Ray\n")
    token = chroma_token(head)
    assert len(token) == 64 and "the token of Ray" not in token
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the token of Ray")
    assert chroma_token(node) == token
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    assert chroma_token(node) != token


def test_the_token_of_a_server_of_ones_own_comes_from_the_settings_and_is_not_printed(tmp_path):
    settings = Settings(state_dir=tmp_path, chroma=ChromaListener(host="vectors", token="s3cr3t"))
    assert chroma_token(settings) == "s3cr3t"
    assert "s3cr3t" not in repr(settings)


def test_chroma_is_not_started_without_a_token(tmp_path):
    processes = Processes(Settings(state_dir=tmp_path / "state"))
    assert chroma_token(processes.settings) == ""
    with pytest.raises(SettingsError, match=r"set chroma\.token"):
        processes.start_chroma()
    assert processes.alive() == {}
