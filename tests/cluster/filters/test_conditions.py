"""The grammar of `where`: what is read, what is refused, and that what is written is read again."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster.api_queries import AssetFilter
from cluster.filters.conditions import FIELDS, Alternative, Detected, Fact, detected, parse, write
from tests.support.generated import thorough


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("face:", Detected("face")),
        (":sign", Detected("", "sign")),
        ("face:Ann: the second", Detected("face", "Ann: the second")),
        ("nsfw:nude>=0.5<=0.9", Detected("nsfw", "nude", 0.5, 0.9)),
        (":>=.5", Detected(least=0.5)),
        ("ocr:text>=0.5~Total  DUE", Detected("ocr", "text", 0.5, words="total due")),
        (r"ocr:a\|b\<c\\", Detected("ocr", r"a|b<c\ ".strip())),
        ("kind=video", Fact("kind", "=", "video")),
        ("name~a:b=c", Fact("name", "~", "a:b=c")),
        ("under=s3://b/x y", Fact("under", "=", "s3://b/x y")),
        ("error~", Fact("error", "~", "")),
        ("bytes>=1000", Fact("bytes", ">=", 1000)),
        ("duration<=1.5", Fact("duration", "<=", 1.5)),
        ("scanned>=2026-01-31", Fact("scanned", ">=", datetime(2026, 1, 31))),
        ("scanned<=2026-01-31", Fact("scanned", "<=", datetime(2026, 1, 31, 23, 59, 59, 999999))),
        ("scanned>=2026-01-31T12:00:00+02:00", Fact("scanned", ">=", datetime(2026, 1, 31, 10))),
    ],
)
def test_a_condition_is_read(text, expected):
    assert parse(text) == (Alternative(expected),)
    assert parse(f"!{text}") == (Alternative(expected, negated=True),)
    assert parse(f"{text}|!kind=audio") == (
        Alternative(expected),
        Alternative(Fact("kind", "=", "audio"), negated=True),
    )


REFUSED = ["", "|", "face:|", "face", "face:\\", "face:>=1.5", "face:>=x", "face:<", "ocr:~", "ocr:~ ", "kind=document"]
REFUSED += ["kind~image", "width=640", "width>=", "width>=-1", "width>=1e3", "bytes>=99999999999999999", "bytes>=1.5"]
REFUSED += ["duration>=nan", "scanned>=yesterday", "scanned>=2026-02-30", "colour=red", "name~", "a|" * 33 + "a:"]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_condition_is_refused_with_a_sentence(text):
    with pytest.raises(ValueError, match=r"condition|empty|goes with|number|score|words|value|kind is|time is"):
        parse(text)


@pytest.mark.parametrize("text", ["face", "!face:", "face:|ocr:", "face:>=0.5", "ocr:~words", "kind=image"])
def test_only_a_detector_and_a_label_name_a_score(text):
    with pytest.raises(ValueError, match=r"condition|DETECTOR:LABEL"):
        detected(text)
    assert detected("face:a b") == Detected("face", "a b")


scores = st.one_of(st.none(), st.integers(0, 1000).map(lambda thousandths: thousandths / 1000))
words = st.one_of(st.none(), st.text(min_size=1).map(lambda text: " ".join(text.lower().split())).filter(bool))
detections = st.builds(Detected, st.sampled_from(["", "face", "ocr"]), st.text(max_size=9), scores, scores, words)
facts = st.one_of(
    st.builds(
        lambda field, value: Fact(field, FIELDS[field][0], value),
        st.sampled_from(["name", "job"]),
        st.text("a|\\b:=~", min_size=1),
    ),
    st.builds(Fact, st.just("width"), st.sampled_from([">=", "<="]), st.integers(0, 1 << 53)),
    st.builds(Fact, st.just("scanned"), st.sampled_from([">=", "<="]), st.datetimes(datetime(1000, 1, 1))),
)


@pytest.mark.chaos
@thorough
@given(st.lists(st.builds(Alternative, st.one_of(detections, facts), st.booleans()), min_size=1, max_size=4))
def test_a_condition_that_is_written_is_read_again(condition):
    assert parse(write(condition)) == tuple(condition)


def test_conditions_that_would_cost_too_much_together_are_refused():
    many = [f"ocr:{n}" for n in range(9)]
    assert AssetFilter(where=("|".join(many), "width>=640", *["ocr:~exit"] * 8))
    for where in (["|".join(many)] * 8, ["ocr:~exit|ocr:~door"] * 5):
        with pytest.raises(ValidationError, match="all conditions together"):
            AssetFilter(where=tuple(where))
