"""Random models of the production architectures for the steps after Whisper: word alignment and diarization."""

import json
import shutil

import numpy as np

from cluster.records import SOUND_RATE_HZ
from deployments.models import runtime


def wav2vec2(folder):
    """Save a wav2vec 2.0 CTC model for English letters with random weights; the real alignment code runs on it."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    torch.manual_seed(0)
    home = folder / "wav2vec2"
    home.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"]
    (home / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(home / "vocab.json"), word_delimiter_token="|", do_lower_case=True)
    features = Wav2Vec2FeatureExtractor(sampling_rate=SOUND_RATE_HZ, return_attention_mask=False)
    Wav2Vec2Processor(feature_extractor=features, tokenizer=tokenizer).save_pretrained(home)
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    Wav2Vec2ForCTC(config).save_pretrained(home)
    return home


def diarizer(folder, voice):
    """Save a pipeline in the layout of speaker-diarization-community-1: WhisperX's own voice activity detector
    (`voice`, a file), and random weights for everything else.
    """
    with runtime.quiet():
        import torch
        from pyannote.audio.core.task import Problem, Resolution, Specifications
        from pyannote.audio.models.embedding import XVectorMFCC

        network = XVectorMFCC(dimension=16)
    home, rng = folder / "diarizer", np.random.default_rng(0)
    for part in ("segmentation", "embedding", "plda"):
        (home / part).mkdir(parents=True)
    shutil.copy(voice, home / "segmentation" / "pytorch_model.bin")
    network.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=["anybody"]
    )
    network.build()
    checkpoint = {
        "state_dict": network.state_dict(),
        "hyper_parameters": dict(network.hparams),
        "pytorch-lightning_version": "2.0.0",
        "epoch": 0,
        "global_step": 0,
    }
    network.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, home / "embedding" / "pytorch_model.bin")
    lda, _ = np.linalg.qr(rng.normal(size=(16, 8)))
    np.savez(home / "plda" / "xvec_transform.npz", mean1=np.zeros(16), mean2=np.zeros(8), lda=lda)
    np.savez(home / "plda" / "plda.npz", mu=np.zeros(8), tr=np.eye(8), psi=np.linspace(2, 0.5, 8))
    parts = {part: f"$model/{part}" for part in ("segmentation", "embedding", "plda")}
    described = {
        "pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": parts},
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"threshold": 0.5, "min_duration_off": 0.0},
        },
    }
    (home / "config.yaml").write_text(json.dumps(described))  # JSON is YAML
    return home
