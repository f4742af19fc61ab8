"""The networks of the gpu profile with random weights, built from their configs without a hub: full-size or small.

Each function saves a network into `folder` and returns its model reference. Speed and memory do not depend on the
values of the weights; the outputs are meaningless.
"""

import hashlib
import json
import shutil
import string
from pathlib import Path
from typing import Any

from deployments.models import runtime

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LABELS = ("neutral", "low", "medium", "high")


def vit(folder: Path, full: bool) -> str:
    """ViT-B/16 at 224 px, the architecture of Falconsai/nsfw_image_detection: 85.8 M parameters."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    side = 224 if full else 32
    shape = {} if full else SMALL
    labels = {0: "normal", 1: "nsfw"}
    ids = {label: n for n, label in labels.items()}
    config = ViTConfig(**shape, image_size=side, patch_size=16, id2label=labels, label2id=ids)
    _saved(ViTForImageClassification, config, folder)
    ViTImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return f"file:{folder}"


def eva(folder: Path, full: bool) -> str:
    """EVA-02 base, patch size 14, at 448 px, the architecture of Freepik/nsfw_image_detector: about 87 M parameters."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    shape: dict[str, Any] = {}
    name = "eva02_base_patch14_448"
    if not full:
        name, shape = "eva02_tiny_patch14_224", {"img_size": 28, "embed_dim": 32, "depth": 2, "num_heads": 2}
    network: Any = timm.create_model(name, pretrained=False, num_classes=len(LABELS), **shape)
    # with its initial weights the classifier gives every image the same scores
    torch.nn.init.normal_(network.get_classifier().weight, std=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors", {"format": "pt"})
    side = 448 if full else 28
    pictures = {"input_size": [3, side, side], "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "squash"}
    config = {
        "architecture": name,
        "architectures": ["TimmWrapperForImageClassification"],
        "model_type": "timm_wrapper",
        "num_classes": len(LABELS),
        "label_names": LABELS,
        "model_args": shape,
        "pretrained_cfg": {**pictures, "mean": [0.5] * 3, "std": [0.5] * 3, "fixed_input_size": True},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return f"file:{folder}"


def owlv2(folder: Path, full: bool) -> str:
    """OWLv2 base, patch size 16, at 960 px: 155 M parameters. The tokenizer is replaced by one of single characters."""
    import torch
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[], model_max_length=16)
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": 0}
    side = 960 if full else 64
    text, vision = ({}, {"image_size": side}) if full else (SMALL, {**SMALL, "image_size": side})
    config = Owlv2Config(
        text_config={**text, **ends, "vocab_size": 49408 if full else len(words), "max_position_embeddings": 16},
        vision_config={**vision, "patch_size": 16},
        projection_dim=512 if full else 32,
    )
    torch.manual_seed(0)
    network = Owlv2ForObjectDetection(config)
    with torch.no_grad():  # otherwise every score is 0 or 1 for every image
        for layer, bias in ((network.class_head.logit_shift, 0.0), (network.class_head.logit_scale, 3.0)):
            layer.weight.zero_()
            layer.bias.fill_(bias)
    network.save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": side, "width": side}), tokenizer).save_pretrained(folder)
    return f"file:{folder}"


def siglip(folder: Path, full: bool) -> str:
    """SigLIP 2 base, patch size 16, at 256 px: 375 M parameters, most of them token embeddings. Letters as tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel

    vocabulary = [("<pad>", 0.0), ("<eos>", 0.0), ("<unk>", -10.0)]
    vocabulary += [(letter, -1.0) for letter in (*string.ascii_lowercase, ".", "▁")]
    tokens = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    special = {"unk_token": "<unk>", "eos_token": "<eos>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokens, **special).save_pretrained(folder)
    side = 256 if full else 32
    shape = {} if full else SMALL
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    words = {"vocab_size": 256_000 if full else len(vocabulary), "max_position_embeddings": 64}
    config = SiglipConfig(
        text_config={**shape, **ends, **words}, vision_config={**shape, "image_size": side, "patch_size": 16}
    )
    _saved(SiglipModel, config, folder)
    SiglipImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return f"file:{folder}"


def facenet512(folder: Path) -> str:
    """Inception-ResNet v1 with 23.5 M parameters, DeepFace's Facenet512. The reference is pinned, as it is a pickle."""
    import torch
    from deepface.models.facial_recognition.pytorch.Facenet import InceptionResNetV1

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "facenet512_weights.pth"
    torch.save(InceptionResNetV1(dimension=512).state_dict(), file)
    return f"file:{file}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}"


def whisper(folder: Path, full: bool, base: str) -> str:
    """Whisper large-v3-turbo for CTranslate2: 809 M parameters. `base`: reference of Whisper base, for its tokens."""
    import ctranslate2
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    (words,) = runtime.weights(base)
    tokens = (words / "vocabulary.txt").read_text().splitlines()
    large = {"d_model": 1280, "encoder_layers": 32, "decoder_layers": 4, "num_mel_bins": 128, "vocab_size": 51866}
    large |= {f"{part}_attention_heads": 20 for part in ("encoder", "decoder")}
    large |= {f"{part}_ffn_dim": 5120 for part in ("encoder", "decoder")}
    small = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "num_mel_bins": 80, "vocab_size": len(tokens)}
    small |= {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
    small |= {f"{part}_ffn_dim": 64 for part in ("encoder", "decoder")}
    shape: dict[str, Any] = large if full else small
    torch.manual_seed(0)
    network = WhisperForConditionalGeneration(WhisperConfig(**shape))
    with torch.no_grad():
        spec = WhisperLoader().get_model_spec(network.half() if full else network)
    spec.register_vocabulary(tokens + [f"<|{n}|>" for n in range(shape["vocab_size"] - len(tokens))])
    known = json.loads((words / "config.json").read_text())
    for key in ("suppress_ids", "suppress_ids_begin", "lang_ids"):
        setattr(spec.config, key, known[key])
    spec.config.alignment_heads = [[shape["decoder_layers"] - 1, 0]]
    spec.validate()
    spec.optimize("float16" if full else None)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    shutil.copy(words / "tokenizer.json", folder)
    features = {"feature_size": shape["num_mel_bins"], "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps({**features, "n_fft": 400}))
    assert ctranslate2.contains_model(str(folder))
    return f"file:{folder}"


def _saved(kind: Any, config: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
