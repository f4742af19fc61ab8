"""What may be chosen above an organisation's floor, and the table of what was chosen."""

import itertools
import sqlite3
from pathlib import Path

import pytest

from cluster.access.store import AccessStore
from cluster.errors import SettingsError
from cluster.exposure.exposure import COLOURS, SIZES, Exposure, ExposureRules
from cluster.exposure.store import ExposureStore
from cluster.settings import load

EVERYTHING = Exposure(blur=False, colours="colour", muted=False, thumbnails="large", break_after_minutes=None)
STRICTEST = Exposure(blur=True, colours="sepia", muted=True, thumbnails="small", break_after_minutes=5)
ALL = [
    Exposure(blur=blur, colours=colours, muted=muted, thumbnails=size, break_after_minutes=minutes)
    for blur, colours, muted, size, minutes in itertools.product(
        (True, False), COLOURS, (True, False), SIZES, (None, 30, 60)
    )
]


def test_media_are_blurred_grey_and_muted_until_somebody_chooses_otherwise():
    rules = ExposureRules()
    assert (rules.blur, rules.colours, rules.muted, rules.floor) == (True, "grey", True, False)
    assert rules.allowed(EVERYTHING) == EVERYTHING


@pytest.mark.parametrize("floor", ALL, ids=str)
def test_above_a_floor_everything_that_holds_is_as_strict_and_what_is_stricter_stays(floor: Exposure):
    rules = ExposureRules(**floor.model_dump(), floor=True)
    for chosen in ALL:
        allowed = rules.allowed(chosen)
        assert allowed.weaker(floor) == []
        assert {name for name, value in allowed if value != getattr(chosen, name)} <= set(chosen.weaker(floor))
        assert (allowed == chosen) == (not chosen.weaker(floor))
    assert rules.allowed(STRICTEST) == STRICTEST


def test_grey_and_sepia_are_as_strict_as_each_other_and_a_sooner_break_is_stricter():
    floor = STRICTEST.model_copy(update={"colours": "grey", "break_after_minutes": 30})
    assert floor.model_copy(update={"colours": "sepia", "break_after_minutes": 20}).weaker(floor) == []
    assert floor.model_copy(update={"break_after_minutes": 31}).weaker(floor) == ["break_after_minutes"]
    assert EVERYTHING.weaker(floor) == list(Exposure.model_fields)


def test_the_settings_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("exposure: {colours: sepia, break_after_minutes: 45, floor: true}\n")
    assert load().exposure == ExposureRules(colours="sepia", break_after_minutes=45, floor=True)
    for key, wrong in (("colours", "pink"), ("break_after_minutes", "1"), ("blurr", "true")):
        (tmp_path / "settings.yaml").write_text(f"exposure: {{{key}: {wrong}}}\n")
        with pytest.raises(SettingsError, match=rf"exposure\.{key}"):
            load()


def test_choices_are_kept_by_owner_and_go_with_the_user(tmp_path: Path):
    access = AccessStore(tmp_path / "access.sqlite")
    access.add_user("ann", "no password", "reviewer")
    access.add_user("bob", "no password", "reviewer")
    store = ExposureStore(tmp_path / "access.sqlite")
    assert store.get("user:ann") is None
    for owner in ("user:ann", "user:bob"):
        store.set(owner, EVERYTHING)
    store.set("user:ann", STRICTEST)
    assert (store.get("user:ann"), store.get("user:bob")) == (STRICTEST, EVERYTHING)
    access.add_user("ann", "another password", "reviewer")
    assert store.get("user:ann") == STRICTEST
    access.remove_user("ann")
    assert (store.get("user:ann"), store.get("user:bob")) == (None, EVERYTHING)


def test_what_another_version_has_written_counts_as_nothing_and_a_broken_file_is_named(tmp_path: Path):
    AccessStore(tmp_path / "access.sqlite")
    store = ExposureStore(tmp_path / "access.sqlite")
    with sqlite3.connect(tmp_path / "access.sqlite") as db:
        db.execute("insert into exposure values ('user:ann', '{\"blur\": 7}')")
    assert store.get("user:ann") is None
    (tmp_path / "broken.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(SettingsError, match="backup"):
        ExposureStore(tmp_path / "broken.sqlite")
