"""Small pictures in headers, further sizes of icons, layers: looked at where they show something else than the file."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.errors import MediaError
from pipelines.media.guard import decoding_errors

if TYPE_CHECKING:
    from PIL import Image

MOST = 100  # of one file
_SIDE = 16  # of the pictures that are compared
_DIFFERENT = 30  # grey levels on average; a small picture with black bars differs by less
_ALIKE = 0.5  # correlation of pictures that show the same

Named = tuple[str, "Image.Image"]


def others(image: "Image.Image") -> list[Named]:
    """(what it is, picture) of each further picture in the file of an opened image that is not loaded yet.

    None of them is a page of it. Broken ones are left out.
    """
    found: list[Named] = []
    opened: Any = image
    with suppress(MediaError), decoding_errors():
        if image.format == "TIFF" or "exif" in image.info:
            children = opened.get_child_images()
            found += [("a small picture in the header", child) for child in children[:MOST]]
        elif image.format == "ICO":
            for n in range(min(MOST, len(opened.ico.entry))):
                frame = opened.ico.frame(n)
                frame.load()
                found.append((f"size {frame.width} x {frame.height}", frame))
        elif image.format == "ICNS":
            for size in image.info["sizes"][:MOST]:
                found.append((f"size {size[0]} x {size[1]}", opened.icns.getimage(size)))
    return found


def layers(image: "Image.Image") -> Iterator[Named]:
    """(what it is, picture) of each layer of a Photoshop file, after its composite was loaded. MediaError if broken."""
    photoshop: Any = image
    with decoding_errors():
        names = [layer[0] for layer in photoshop.layers] if image.format == "PSD" else []
    for n, name in enumerate(names[:MOST], 1):
        with decoding_errors():
            photoshop.frame = 0  # Pillow takes the composite for the first layer
            photoshop.seek(n)
            photoshop.load()
            layer = photoshop.copy()
        yield f"layer {n} ({name})" if name.strip() else f"layer {n}", layer
    if len(names) > MOST:
        raise MediaError("decode", f"it has {len(names):,} layers, of which {MOST} were looked at")


def differ(one: "Image.Image", other: "Image.Image") -> bool:
    """Whether two pictures of any sizes show something else."""
    first, second = (np.asarray(_small(each), np.float32) for each in (one, other))
    if np.abs(first - second).mean() > _DIFFERENT:
        return True
    first, second = first.mean(2), second.mean(2)
    if min(first.std(), second.std()) < 2:
        return bool(abs(first.std() - second.std()) > 4)
    return bool(np.corrcoef(first.ravel(), second.ravel())[0, 1] < _ALIKE)


def _small(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    image = image.reduce(max(1, min(image.size) // (4 * _SIDE)))  # of a large picture, to convert costs more than that
    small = image.convert("RGBA").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return Image.alpha_composite(Image.new("RGBA", small.size, "grey"), small).convert("RGB")
