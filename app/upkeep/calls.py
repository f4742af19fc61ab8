"""Calls of the API for those who run the cluster. They raise what ApiClient's own methods raise."""

from urllib.parse import quote

from pydantic import TypeAdapter

from app.client import ApiClient
from cluster.access.api_types import KeyInfo, MadeKey, NewKey, Revoked, UserInfo
from cluster.upkeep.api_types import ClusterState, ModelState, SettingState

_KEYS = TypeAdapter(list[KeyInfo])
_USERS = TypeAdapter(list[UserInfo])
_MODELS = TypeAdapter(list[ModelState])
_SETTINGS = TypeAdapter(list[SettingState])


def cluster(api: ApiClient) -> ClusterState:
    """Nodes, GPUs, detectors and jobs as they are now."""
    return api.ask("GET", "/cluster", ClusterState)


def models(api: ApiClient) -> list[ModelState]:
    """The model of each detector, and its weights."""
    return api.ask("GET", "/models", _MODELS)


def settings(api: ApiClient) -> list[SettingState]:
    """The main settings."""
    return api.ask("GET", "/settings", _SETTINGS)


def users(api: ApiClient) -> list[UserInfo]:
    """The people who sign in with a password."""
    return api.ask("GET", "/users", _USERS)


def keys(api: ApiClient) -> list[KeyInfo]:
    """All keys, oldest first, without their secrets."""
    return api.ask("GET", "/keys", _KEYS)


def make_key(api: ApiClient, wanted: NewKey) -> MadeKey:
    """Make a key; the answer is the only place that has it."""
    return api.ask("POST", "/keys", MadeKey, wanted.model_dump(mode="json"))


def revoke_key(api: ApiClient, id: str) -> None:
    """End a key. ApiError 404 if it has ended."""
    api.ask("DELETE", f"/keys/{quote(id)}", Revoked)
