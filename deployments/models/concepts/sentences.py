"""Vectors of sentences by BERT networks of the sentence-transformers kind, such as all-MiniLM-L6-v2."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import SettingsError
from deployments.models import runtime

Array = npt.NDArray[np.float32]

FILES = ("config.json", "tokenizer.json", "model.safetensors")


class SentenceEncoder:
    """Texts -> vectors of length 1: the mean of BERT's last states (Reimers and Gurevych 2019, arXiv:1908.10084).

    The layers are torch's own, and only the tokenizer is Hugging Face's: to import transformers' BertModel takes as
    long as all else that such a replica does at its start. Runs on the CPU.
    """

    tokens = 256  # maximum of a text; all-MiniLM-L6-v2 was fine-tuned with it
    texts_at_once = 32

    def __init__(self, folder: Path) -> None:
        self._torch = runtime.torch_on_one_thread()
        from tokenizers import Tokenizer

        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise SettingsError(f"a network for sentences has {', '.join(FILES)}; {folder} lacks {', '.join(missing)}.")
        config = json.loads((folder / "config.json").read_text())
        if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
            raise SettingsError(f"the network in {folder} is no BERT with GELU. Name one like all-MiniLM-L6-v2.")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.tokens)
        self._tokenizer.enable_padding(pad_id=config.get("pad_token_id", 0))
        self.size: int = config["hidden_size"]
        self._load(folder / "model.safetensors", config)

    def __call__(self, texts: Sequence[str]) -> Array:
        """(n, size), rows of length 1. A text of more than `tokens` tokens is truncated."""
        rows = runtime.in_batches(texts, self.texts_at_once, self._embed)
        return np.stack(rows) if rows else np.empty((0, self.size), np.float32)

    def _load(self, weights: Path, config: dict[str, Any]) -> None:
        from safetensors.torch import load_file

        state = {name.removeprefix("bert."): values for name, values in load_file(weights).items()}
        nn = self._torch.nn
        layer = nn.TransformerEncoderLayer(
            *(self.size, config["num_attention_heads"], config["intermediate_size"]),
            activation="gelu",
            layer_norm_eps=config["layer_norm_eps"],
            batch_first=True,
        )
        with runtime.quiet():  # torch warns that the nested tensors, by which it skips padding, may change
            self._layers = nn.TransformerEncoder(layer, config["num_hidden_layers"]).eval()
        for number, layer in enumerate(self._layers.layers):
            layer.load_state_dict(_of_torch(state, f"encoder.layer.{number}."))
        self._words = state["embeddings.word_embeddings.weight"]
        # every text is of the first of BERT's two types
        self._places = (
            state["embeddings.position_embeddings.weight"] + state["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = nn.LayerNorm(self.size, eps=config["layer_norm_eps"]).eval()
        self._norm.load_state_dict({part: state[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")})

    def _embed(self, texts: Sequence[str]) -> Array:
        torch, encoded = self._torch, self._tokenizer.encode_batch(list(texts))
        with torch.inference_mode(), runtime.quiet():
            ids = torch.tensor([text.ids for text in encoded])
            padding = torch.tensor([text.attention_mask for text in encoded]) == 0
            states = self._norm(self._words[ids] + self._places[: ids.shape[1]])
            states = self._layers(states, src_key_padding_mask=padding if padding.any() else None)
            kept = ~padding[:, :, None]
            return runtime.unit(((states * kept).sum(1) / kept.sum(1)).numpy())


def _of_torch(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The weights of one of BERT's layers under the names that torch's TransformerEncoderLayer has for them."""
    import torch

    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    weights = {
        f"{ours}.{part}": state[f"{prefix}{its}.{part}"] for ours, its in names.items() for part in ("weight", "bias")
    }
    for part in ("weight", "bias"):
        joined = [state[f"{prefix}attention.self.{of}.{part}"] for of in ("query", "key", "value")]
        weights[f"self_attn.in_proj_{part}"] = torch.cat(joined)
    return weights
