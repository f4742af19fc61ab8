"""Pictures with more than 8 bits a channel, as 8 bits: dim values of a sensor are stretched, hot pixels ignored."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
_SAMPLES = 500_000  # that bounds are taken from


def bounds(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Values that nearly all pixels lie between."""
    some = values[:: max(1, values.shape[0] // 500)]
    low, high = np.percentile(some, (0.1, 99.9))
    return float(low), float(high)


def stretched(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """Values as 0 to 255, where `low` becomes 0 and `high` 255."""
    scale = 255 / max(high - low, 1e-9)
    return np.clip((values.astype(np.float32) - np.float32(low)) * np.float32(scale), 0, 255).astype(np.uint8)


def of_any_range(values: npt.NDArray[np.float32]) -> Pixels:
    """Values without a known range, of which some may be no numbers, as 0 to 255."""
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(values.shape, np.uint8)
    low, high = (float(each) for each in np.percentile(known[:: max(1, known.size // _SAMPLES)], (0.1, 99.9)))
    if high == low:
        low, high = float(known.min()), float(known.max())
    return stretched(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)


def has_deep_colours(image: "Image.Image") -> bool:
    """Whether an opened image that is not loaded has colours of 16 bits, and is the only one in its file."""
    tiles: Any = image.tile if image.format in ("PNG", "TIFF") else ()  # type: ignore[attr-defined]
    is_deep = image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile) for tile in tiles)
    return is_deep and getattr(image, "n_frames", 1) == 1


def orientation(image: "Image.Image", tag: int) -> int:
    """The orientation of an image that Pillow has not turned yet."""
    return int(image.getexif().get(tag, 1))


def brightened(file: Path | io.RawIOBase, dim: int) -> "Image.Image | None":
    """The picture of such a file, stretched, if all its values are below `dim` of 0xFFFF; else None."""
    import cv2
    from PIL import Image

    if isinstance(file, Path):
        content = file.read_bytes()
    else:
        file.seek(0)
        content = file.read() or b""
    decoded: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        return None
    colours, rest = decoded[..., 2::-1], decoded[..., 3:]
    low, high = bounds(colours)
    if high >= dim or high == low:
        return None
    pixels = np.concatenate([stretched(colours, low, high), (rest >> 8).astype(np.uint8)], axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels))
