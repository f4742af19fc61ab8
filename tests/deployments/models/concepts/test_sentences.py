"""Vectors of sentences, compared with those that transformers computes with the same weights."""

import json

import numpy as np
import pytest

from cluster.errors import SettingsError
from deployments.models import runtime
from deployments.models.concepts.conse import MODEL
from deployments.models.concepts.sentences import SentenceEncoder
from tests.support.models import tiny

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]  # they import transformers

TEXTS = ["", "a", "The red car", "漢字 ÄÖ", "a red car in the street. " * 40, "z " * 1000]
TEXTS += ["car " * number for number in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.bert(tmp_path_factory.mktemp("bert"))


def by_transformers(folder, texts, tokens):
    """The mean of the last states over each text's own tokens, one text at a time, so that nothing is padded."""
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer, network = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        inputs = [tokenizer(text, return_tensors="pt", truncation=True, max_length=tokens) for text in texts]
        return runtime.unit(np.stack([network(**one).last_hidden_state[0].mean(0).numpy() for one in inputs]))


def test_vectors_are_those_that_transformers_computes(folder):
    encoder = SentenceEncoder(folder)
    assert np.allclose(encoder(TEXTS), by_transformers(folder, TEXTS, encoder.tokens), atol=1e-6)


def test_vectors_of_the_packaged_network_are_those_that_transformers_computes():
    _, folder = runtime.weights(MODEL, parts=2)
    encoder = SentenceEncoder(folder)
    assert np.allclose(encoder(TEXTS[:10]), by_transformers(folder, TEXTS[:10], encoder.tokens), atol=1e-6)


def test_a_text_has_the_same_vector_in_whatever_company(folder):
    encoder = SentenceEncoder(folder)
    together = encoder(TEXTS)
    assert together.dtype == np.float32 and together.shape == (len(TEXTS), 32)
    assert np.allclose(together, np.concatenate([encoder([text]) for text in TEXTS]), atol=1e-6)
    assert encoder([]).shape == (0, 32)


def test_what_lies_beyond_the_last_token_does_not_matter(folder):
    encoder = SentenceEncoder(folder)
    letters = ["a b c d e f g h " * 100, "a b c d e f g h " * 32 + "red car " * 100, "a b c d e f g h"]
    alike, too, shorter = encoder(letters)
    assert np.allclose(alike, too, atol=1e-6) and not np.allclose(alike, shorter, atol=1e-3)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_names_the_file_that_is_missing(tmp_path, name):
    (tiny.bert(tmp_path) / name).unlink()
    with pytest.raises(SettingsError, match=f"lacks {name}"):
        SentenceEncoder(tmp_path)


@pytest.mark.parametrize("change", [{"model_type": "roberta"}, {"hidden_act": "relu"}])
def test_refuses_a_network_that_it_would_compute_wrongly(tmp_path, change):
    config = tiny.bert(tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(SettingsError, match="is no BERT with GELU"):
        SentenceEncoder(tmp_path)
