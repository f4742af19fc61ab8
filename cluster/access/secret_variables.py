"""The environment variables that hold secrets, which are kept from processes that do not need them."""

import os

from cluster.access.oidc import SECRET_VARIABLE
from cluster.access.tokens import KEY_VARIABLES
from cluster.webhooks.endpoint import SECRET_PREFIX

_NAMES = (*KEY_VARIABLES, SECRET_VARIABLE, "RAY_AUTH_TOKEN")


def environment_without_secrets() -> dict[str, str]:
    """The environment of this process without keys, Ray's token, and the secrets of webhooks and OpenID Connect."""
    return {name: value for name, value in os.environ.items() if not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    # settings are read from variables in lower case too; a webhook's variable has any name
    return name.upper() in _NAMES or value.strip().startswith(SECRET_PREFIX)
