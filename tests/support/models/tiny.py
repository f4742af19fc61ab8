"""Models of the production architectures with a few thousand random weights, made offline in about a second."""

from pathlib import Path

SIDE = 32  # input width and height in pixels
MEAN, SPREAD = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)  # normalization; all differ, so that tests detect swapped channels


def classifier(folder: Path, labels: list[str]) -> Path:
    """Save a ViT classifier with these labels (as Falconsai/nsfw_image_detection) in the hub's layout."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    named = dict(enumerate(labels))
    numbers = {label: n for n, label in named.items()}
    config = ViTConfig(**shape, image_size=SIDE, patch_size=8, id2label=named, label2id=numbers)
    ViTForImageClassification(config).save_pretrained(folder)
    processor(ViTImageProcessor).save_pretrained(folder)
    return folder


def timm_classifier(folder: Path, labels: list[str]) -> Path:
    """Save a timm EVA-02 classifier with these labels (as Freepik/nsfw_image_detector), with rotary embeddings."""
    import json

    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    shape = {"img_size": SIDE, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    network = timm.create_model("eva02_tiny_patch14_224", pretrained=False, num_classes=len(labels), **shape)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors", {"format": "pt"})
    given = {"input_size": [3, SIDE, SIDE], "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "squash"}
    config = {
        "architecture": "eva02_tiny_patch14_224",
        "architectures": ["TimmWrapperForImageClassification"],
        "model_type": "timm_wrapper",
        "num_classes": len(labels),
        "label_names": labels,
        "model_args": shape,
        "pretrained_cfg": {**given, "mean": MEAN, "std": SPREAD, "fixed_input_size": True},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def siglip(folder: Path) -> Path:
    """Save a SigLIP for images of SIDE pixels and texts of 64 tokens, most of which are single letters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel

    words = ("this", "is", "a", "photo", "of", "dog", "cat", "gun")
    pieces = [*"abcdefghijklmnopqrstuvwxyz.", "▁", *(f"▁{word}" for word in words)]
    vocabulary = [("<pad>", 0.0), ("<eos>", 0.0), ("<unk>", -10.0), *((piece, -1.0) for piece in pieces)]
    tokens = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokens.normalizer = normalizers.NFKC()
    tokens.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens.decoder = decoders.Metaspace()
    tokens.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    named = {"unk_token": "<unk>", "eos_token": "<eos>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokens, **named).save_pretrained(folder)

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    language = {**shape, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": 64}
    config = SiglipConfig(text_config=language, vision_config={**shape, "image_size": SIDE, "patch_size": 8})
    network = SiglipModel(config)
    with torch.no_grad():  # values of a trained SigLIP; an untrained one starts with random ones
        network.logit_scale.fill_(4.7)
        network.logit_bias.fill_(-16.0)
    network.save_pretrained(folder)
    processor(SiglipImageProcessor).save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    """Save a BERT for texts of at most 512 tokens, which are single letters and a few words."""
    import torch
    import transformers

    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "red", "car", "street")
    vocabulary = {word: number for number, word in enumerate(words)}
    transformers.BertTokenizerFast(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(**shape, vocab_size=len(words), initializer_range=0.5)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def processor(kind):
    """An image processor of this class, with SIDE, MEAN and SPREAD."""
    return kind(size={"height": SIDE, "width": SIDE}, image_mean=list(MEAN), image_std=list(SPREAD))
