"""What the Settings page shows of the settings and the models: read only, with where to change it."""

import html

import streamlit as st

from app import draw
from app.language.formats import number
from app.language.texts import N_, _
from app.language.wording import size
from app.upkeep import tables
from app.upkeep.cluster import NONE
from app.upkeep.tables import Html
from cluster.upkeep.api_types import Device, ModelState, SettingState, WeightsState

MEANINGS = {
    "scanning.roots": N_("folders and buckets that scans may read; none: only what the operator proves on the head"),
    "scanning.outs": N_("where scans may store results, besides results_uri"),
    "scanning.exclude": N_("names that scans leave out"),
    "scanning.max_jobs": N_("jobs that run at a time, of each priority"),
    "scanning.workers": N_("processes that fetch and decode files"),
    "scanning.max_failed_share": N_("a job with a larger share of failed files counts as failed"),
    "results_uri": N_("where results are stored"),
    "galleries_uri": N_("reference pictures of logos, people and scenes"),
    "state_dir": N_("keys, decisions, catalogue and logs, on the head"),
    "profile": N_("small models on CPUs (embedded), or large ones (gpu)"),
    "models.offline": N_("whether no model hub is used"),
    "models.mirror": N_("the copy of the models, instead of the hub"),
    "models.cache": N_("the folder of downloaded models; none: the default one"),
    "decoding.frames_per_s": N_("frames of a film that are analysed each second"),
    "decoding.max_bytes": N_("larger files are refused"),
    "decoding.max_duration_s": N_("longer recordings are refused, in seconds"),
    "retention.days": N_("days after which results may be erased; none: kept"),
    "review.labels": N_("decisions that reviewers choose from"),
    "review.lock_s": N_("seconds for which a file is kept for one reviewer"),
    "access.purpose_required": N_("whether people say for what they look at files"),
    "limits.requests_per_s": N_("requests a second, of each user or key"),
    "limits.jobs": N_("scans that a user or key may have at a time"),
    "limits.upload_gb_per_hour": N_("uploads in GB an hour, of each user or key"),
    "prices.cpu_hour": N_("price of a CPU core for an hour, in estimates and reports"),
    "prices.gpu_hour": N_("price of a GPU for an hour, in estimates and reports"),
    "api.replicas": N_("processes of the API"),
    "oidc.issuer": N_("the organisation's provider with which people sign in"),
    "oidc.roles": N_("roles of the provider's groups"),
}
_DEVICES: dict[Device, str] = {"cpu": N_("CPU"), "gpu": N_("GPU"), "remote": N_("another cluster")}
_ORIGINS = {
    "package": N_("package"),
    "file": N_("file"),
    "bucket": N_("bucket"),
    "cache": N_("cache"),
    "mirror": N_("mirror"),
    "hub": N_("hub"),
    "nowhere": N_("nowhere"),
}


def settings(known: list[SettingState]) -> None:
    """Draw the settings with where to change each."""
    rows = [[_key(each), value(each), _where(each)] for each in known]
    tables.draw(_("Settings"), [_("Setting"), _("Value"), _("Change it")], rows)


def _key(setting: SettingState) -> Html:
    meaning = MEANINGS.get(setting.key)
    return tables.small(Html(f"<code>{html.escape(setting.key)}</code>"), _(meaning) if meaning else "")


def _where(setting: SettingState) -> Html:
    key, variable = (f"<code>{html.escape(name)}</code>" for name in (setting.key, setting.variable))
    return Html(_("{key} in settings.yaml, or {variable}", key=key, variable=variable))


def value(setting: SettingState) -> str:
    """The value in words."""
    of = setting.value
    if of is None or of == () or of == "":
        return _("none")
    if isinstance(of, bool):
        return _("yes") if of else _("no")
    if setting.key.endswith("_bytes") and isinstance(of, int):
        return size(of)
    if isinstance(of, int | float):
        return number(of, 0 if of == int(of) else 2)
    return tables.lines(of) if isinstance(of, tuple) else of


def models(known: list[ModelState]) -> None:
    """Draw the models of the detectors with their weights, and what to do about those that are missing."""
    if not known:
        st.info(_("No detector is served: settings.yaml has switched all off."))
        return
    columns = [_("Detector"), _("Model"), _("Runs on"), _("Weights"), _("Source"), _("Size"), _("Present")]
    tables.draw(_("Models"), columns, [row for model in known for row in _rows(model)], numbers=[5])
    missing = dict.fromkeys(each.missing for model in known for each in model.weights if each.missing)
    for sentence in missing:
        st.warning(draw.escape(sentence))


def _rows(model: ModelState) -> list[list[str]]:
    device = _(_DEVICES[model.device]) if model.device else NONE
    first: list[str] = [model.detector, tables.small(model.model, model.backend), device]
    if not model.weights:
        return [[*first, NONE, NONE, NONE, NONE]]
    return [[*(first if n == 0 else ["", "", ""]), *_weights(each)] for n, each in enumerate(model.weights)]


def _weights(of: WeightsState) -> list[str]:
    facts = ", ".join(filter(None, [of.licence or _("licence not stated"), (of.revision or "")[:10]]))
    there = tables.state(_("yes"), "good") if of.there else tables.state(_("no"), "bad")
    return [tables.small(of.title, facts), _(_ORIGINS.get(of.origin, of.origin)), size(of.bytes) or NONE, there]
