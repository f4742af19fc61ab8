"""The settings that admins see in the app: those that decide what people meet, and none with a secret."""

import re
from pathlib import Path
from typing import Any

from cluster.settings import PREFIX, Settings
from cluster.upkeep.api_types import SettingState, Value

# Named one by one, so that a secret that is added to the settings is not shown. cache.redis_url, the tokens, the
# webhooks and the detectors' own settings may contain some.
SHOWN = (
    "scanning.roots",
    "scanning.outs",
    "scanning.exclude",
    "scanning.max_jobs",
    "scanning.workers",
    "scanning.max_failed_share",
    "results_uri",
    "galleries_uri",
    "state_dir",
    "profile",
    "models.offline",
    "models.mirror",
    "models.cache",
    "decoding.frames_per_s",
    "decoding.max_bytes",
    "decoding.max_duration_s",
    "retention.days",
    "review.labels",
    "review.lock_s",
    "access.purpose_required",
    "limits.requests_per_s",
    "limits.jobs",
    "limits.upload_gb_per_hour",
    "prices.cpu_hour",
    "prices.gpu_hour",
    "api.replicas",
    "oidc.issuer",
    "oidc.roles",
)
_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")
# where an empty value means another one
_MEANT = {"results_uri": "results", "galleries_uri": "galleries"}


def shown(settings: Settings) -> list[SettingState]:
    """The settings of SHOWN with their values. URLs are without the names and passwords that they may contain."""
    return [
        SettingState(key=key, value=_value(settings, _MEANT.get(key, key)), variable=variable(key)) for key in SHOWN
    ]


def variable(key: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + key.upper().replace(".", "__")


def _value(settings: Settings, key: str) -> Value:
    value: Any = settings
    for part in key.split("."):
        value = None if value is None else getattr(value, part)
    if key == "oidc.roles" and value is not None:
        return tuple(f"{group}: {', '.join([of.role, *(of.under or ())])}" for group, of in value.items())
    if isinstance(value, dict | tuple):
        return tuple(_LOGIN.sub("", str(each)) for each in value)
    return (
        _LOGIN.sub("", str(value.absolute() if isinstance(value, Path) else value))
        if isinstance(value, str | Path)
        else value
    )
