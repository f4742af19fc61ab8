"""Open-vocabulary detectors with a few thousand random weights, made offline; loading and pre-processing are real."""

import functools
import string

SIDE = 64  # of OWLv2's square input, in pixels
PATCH = 16

TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def owlv2(folder, **vision):
    """Save an OWLv2 with 4 x 4 patches. The class head requires a projection as wide as the text encoder."""
    import torch
    from transformers import (
        CLIPTokenizerFast,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessor,
        Owlv2Processor,
    )

    letters = _bytes()
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: place for place, word in enumerate(words)}
    size = len(words)
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[], model_max_length=64)  # every letter is a token
    ends = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": 0}
    torch.manual_seed(0)
    network = Owlv2ForObjectDetection(
        Owlv2Config(
            text_config=TEXT | ends | {"vocab_size": size, "max_position_embeddings": 64},
            vision_config=TEXT | {"image_size": SIDE, "patch_size": PATCH} | vision,
            projection_dim=32,
        )
    )
    network.save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer).save_pretrained(folder)
    return folder


def grounding_dino(folder, config="GroundingDinoConfig", network="GroundingDinoForObjectDetection"):
    """Save a Grounding DINO, or a related model given by its class names. The tied heads need two decoder layers."""
    import torch
    import transformers

    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}  # as in BERT
    known = iter([*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), "rope", "handcuffs"])
    vocabulary = {special.get(n) or next(known, f"[unused{n}]"): n for n in range(1040)}
    backbone = transformers.SwinConfig(
        image_size=SIDE,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
        out_indices=[2, 3, 4],
    )
    language = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    made = getattr(transformers, config)(
        backbone_config=backbone,
        text_config=language,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=20,
        max_text_len=64,
        num_feature_levels=4,
    )
    getattr(transformers, network)(made).save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(vocab=vocabulary, do_lower_case=True)
    pictures = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 2 * SIDE, "longest_edge": 4 * SIDE})
    transformers.GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def mm_grounding_dino(folder):
    """Save an MM Grounding DINO, the architecture of LLMDet."""
    return grounding_dino(folder, "MMGroundingDinoConfig", "MMGroundingDinoForObjectDetection")


@functools.cache
def _bytes():
    """The character that byte-level BPE writes for each byte, as in GPT-2's vocabulary."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + place) for place in range(len(hidden))]
