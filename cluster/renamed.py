"""Settings that have been renamed: the old keys and environment variables are still read, with a warning."""

import logging
import os
from typing import Any

# keys of version 0.1 -> the keys that replace them; the old ones are still read, until version 0.3
RENAMED: dict[str, str | None] = {  # None: it has no effect any more
    "door": "api",
    "decoding.stall_s": "decoding.decoder_timeout_s",
    "scanning.patience_s": "scanning.detector_timeout_s",
    "scanning.at_once": "scanning.max_jobs",
    "scanning.units_per_block": None,
}

log = logging.getLogger(__name__)


def rename_keys(values: dict[str, Any]) -> None:
    """Move the values of renamed keys of settings.yaml to their new keys, unless the new one is set too."""
    for old, new in RENAMED.items():
        *parents, key = old.split(".")
        part: Any = values
        for parent in parents:
            part = part.get(parent) if isinstance(part, dict) else None
        if isinstance(part, dict) and key in part:
            log.warning("setting %s %s", old, f"has been renamed to {new}" if new else "has no effect any more")
            value, name = part.pop(key), str(new).rsplit(".", 1)[-1]
            both = isinstance(value, dict) and isinstance(part.get(name), dict)
            if new:
                part[name] = value | part[name] if both else part.get(name, value)


def rename_variables(prefix: str) -> None:
    """Rename the environment variables of renamed settings, unless the new one is set too. `prefix`: of all of them."""
    for old, new in [(old, new) for old, new in RENAMED.items() if new]:
        before, now = (prefix + key.replace(".", "__").upper() for key in (old, new))
        for variable in [name for name in os.environ if name == before or name.startswith(f"{before}__")]:
            renamed = now + variable.removeprefix(before)
            log.warning("environment variable %s has been renamed to %s", variable, renamed)
            os.environ.setdefault(renamed, os.environ.pop(variable))
