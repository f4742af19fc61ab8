import subprocess
import sys

import numpy as np
import pytest

from cluster.records import SOUND_RATE_HZ
from deployments.detectors.whisper import Whisper
from deployments.models import speech
from deployments.models.speech import Piece

SAID = Whisper.example().sound
LENGTH_S = len(SAID) / SOUND_RATE_HZ


def after(*parts):
    """The sentence of the example after each of these seconds of silence."""
    sound = [one for seconds in parts for one in (np.zeros(int(seconds * SOUND_RATE_HZ), np.float32), SAID)]
    return speech.pieces(np.concatenate(sound))


@pytest.mark.parametrize("n", [0, 1, 100, SOUND_RATE_HZ])
def test_silence_of_any_length_has_no_piece(n):
    assert speech.pieces(np.zeros(n, np.float32)) == []


def test_utterances_share_a_piece_without_the_pauses_between_them():
    (piece,) = after(1, 3)
    assert piece.spans[0][0] == pytest.approx(1, abs=0.3) and piece.spans[-1][1] <= 2 * LENGTH_S + 4
    assert len(piece.sound) / SOUND_RATE_HZ == pytest.approx(sum(end - start for start, end in piece.spans), abs=0.001)
    assert len(piece.sound) / SOUND_RATE_HZ < 2 * LENGTH_S + 2


def test_a_long_pause_starts_a_new_piece():
    first, second = after(0, speech.PAUSE_S + 1)
    assert first.spans[-1][1] < LENGTH_S + 1 < second.spans[0][0]


def test_no_piece_is_longer_than_the_encoders_input():
    pieces = after(*[1] * 14)
    assert len(pieces) > 1
    assert all(len(piece.sound) <= speech.PIECE_S * SOUND_RATE_HZ for piece in pieces)
    spans = [span for piece in pieces for span in piece.spans]
    assert spans == sorted(spans)


def test_a_word_is_heard_where_its_part_of_the_piece_was():
    piece = Piece(np.zeros(4 * SOUND_RATE_HZ, np.float32), ((10.0, 11.0), (20.0, 23.0)))
    assert piece.heard(0.25, 0.75) == (10.25, 10.75)
    assert piece.heard(1.5, 2.0) == (20.5, 21.0)
    assert piece.heard(0.9, 1.5) == pytest.approx((19.9, 20.5)), "its middle is in the second part"
    assert piece.heard(3.5, 4.5) == (22.5, 23.0), "no word ends after the speech"
    assert piece.heard(0.0, 0.0) == (10.0, 10.0)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_the_embedded_backend_loads_and_answers_without_torch():
    code = (
        "import sys; from deployments.detectors.whisper import Whisper, WhisperConfig;"
        "assert Whisper(WhisperConfig()).detect([Whisper.example()])[0];"
        "print(*sorted({'torch', 'pyannote', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert ran.stdout.split() == []
