"""Downloads from the model hub: the files of a repository's revision, checked against the hashes that the hub states.

They run in a process of their own: libraries in the calling process are set offline when they are imported, so that
none contacts the hub without the operator's consent, and huggingface_hub cannot be switched back afterwards.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

from cluster.errors import SettingsError
from deployments.weights import copies
from deployments.weights.copies import Manifest
from deployments.weights.pickles import CTRANSLATE2, PICKLES, SAFE, unpinned

_BESIDE = (".json", ".txt", ".model", ".jinja", ".yaml", ".npz", ".onnx_data")
_TERMS = ("LICENSE", "LICENCE", "NOTICE", "README.md")  # copied with the weights that they license
_REFUSED = 3


class Order(BaseModel):
    """What to fetch: the file or folder `inner` of a repository's revision, or all of it; and into which folder."""

    source: str
    repo: str
    revision: str
    inner: str
    pinned: bool
    to: Path


def fetch_apart(order: Order) -> Manifest:
    """Fetch weights into a folder, in a child process. SettingsError if the hub refuses or does not answer."""
    env = {"HF_HUB_VERBOSITY": "error", "HF_HUB_DISABLE_TELEMETRY": "1", **os.environ}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])  # in a cluster these modules lie where Ray has put them
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        env.pop(variable, None)
    if not sys.stderr.isatty():
        env["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    command = [sys.executable, "-P", "-m", "deployments.weights.fetching", order.model_dump_json()]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode == _REFUSED:
        raise SettingsError(done.stdout.strip())
    done.check_returncode()
    return Manifest.model_validate_json(done.stdout)


def fetch(order: Order) -> Manifest:
    """Fetch weights into a folder, in this process. SettingsError if the hub refuses or does not answer."""
    import httpx2
    from huggingface_hub import HfApi, errors, snapshot_download

    model = f"model {order.source!r}"
    try:
        info = HfApi().model_info(order.repo, revision=order.revision, files_metadata=True, timeout=30)
        listed = {file.rfilename: file for file in info.siblings or ()}
        wanted = chosen(listed, order, info.sha)
        snapshot_download(
            order.repo, revision=info.sha, allow_patterns=[escape(name) for name in wanted], local_dir=order.to
        )
    except errors.GatedRepoError:
        raise SettingsError(
            f"{model}: its publisher wants its terms accepted. Do so on its page on the hub and set HF_TOKEN."
        ) from None
    except errors.RepositoryNotFoundError:
        raise SettingsError(
            f"{model}: the hub has no {order.repo}, or not for everybody. Correct it or set HF_TOKEN."
        ) from None
    except errors.RevisionNotFoundError:
        raise SettingsError(f"{model}: {order.repo} has no revision {order.revision!r}. Correct it.") from None
    except errors.HFValidationError as error:
        raise SettingsError(f"{model}: {error}") from None
    except (httpx2.TransportError, errors.EntryNotFoundError, OSError) as error:  # the hub's refusals are OSErrors too
        raise SettingsError(
            f"{model} could not be fetched from the hub ({_brief(error)}). Check the network and HF_ENDPOINT, or set "
            "models.mirror to what `raysift models pull` has filled."
        ) from None
    shutil.rmtree(order.to / ".cache", ignore_errors=True)  # metadata of huggingface_hub
    for path in [path for path in order.to.rglob("*") if path.is_file()]:
        if path.relative_to(order.to).as_posix() not in wanted:  # an earlier try's, of another commit
            path.unlink()
    for name in wanted:
        _hold_against(order.to / name, listed[name], model)
    return Manifest(source=order.source, commit=info.sha, licence=_licence(info.card_data), files=copies.held(order.to))


def chosen(names: Iterable[str], order: Order, commit: str | None) -> list[str]:
    """Which of a repository's files are taken: weights of the safest kind that it has, and what is read beside them.

    SettingsError if there are only pickles and the reference does not pin them.
    """
    inside = sorted(name for name in names if not order.inner or f"{name}/".startswith(f"{order.inner}/"))
    if inside == [order.inner]:
        kinds: tuple[str, ...] = (PurePosixPath(order.inner).suffix,)
    else:
        kinds = next(((kind,) for kind in SAFE if any(name.endswith(kind) for name in inside)), PICKLES)
    weights = [name for name in inside if name.endswith(kinds)]
    if not weights:
        what = f"{order.inner} of {order.repo}" if order.inner else order.repo
        raise SettingsError(f"model {order.source!r}: {what} holds no weights ({' or '.join(SAFE)}). Take another.")
    refused = [name for name in weights if name.endswith(PICKLES) and PurePosixPath(name).name != CTRANSLATE2]
    if refused and not order.pinned:
        pinned = order.source.replace(f"@{order.revision}", f"@{commit}") if commit else None
        raise SettingsError(unpinned(order.source, refused[0], pinned))
    beside = [name for name in inside if name.endswith(_BESIDE) or PurePosixPath(name).name.startswith(_TERMS)]
    return sorted({*weights, *beside})


def _hold_against(path: Path, stated: Any, model: str) -> None:
    content = hashlib.sha256() if stated.lfs else hashlib.sha1(usedforsecurity=False)
    if not stated.lfs:
        content.update(b"blob %d\0" % path.stat().st_size)  # as git names a file
    with path.open("rb") as file:
        while piece := file.read(copies.PIECE_BYTES):
            content.update(piece)
    if content.hexdigest() != (stated.lfs.sha256 if stated.lfs else stated.blob_id):
        path.unlink()
        raise SettingsError(f"{model}: {path.name} arrived with other bytes than the hub states. Try again.")


def _licence(card: Any) -> str | None:
    licence = getattr(card, "license", None)
    if licence == "other":
        licence = getattr(card, "license_name", None) or licence
    return ", ".join(licence) if isinstance(licence, list) else licence


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"


def main() -> int:
    """Fetch the Order in the one argument; print the manifest, or the reason why there is none, to standard output."""
    try:
        print(fetch(Order.model_validate_json(sys.argv[1])).model_dump_json())
    except SettingsError as error:
        print(error)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
