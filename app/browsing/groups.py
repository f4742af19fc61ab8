"""The filters with counts in the sidebar of the Browse page, and which labels are too weak to show."""

from collections.abc import Mapping

from app import components, draw
from app.browsing import reasons
from app.language.texts import _
from cluster.api_queries import AssetQuery
from cluster.api_types import Asset, Facet, Facets
from cluster.filters.conditions import Alternative, Detected, Fact, write

REASON = "reason"  # the name of the filter by reasons, which has no parameter of its own: it is a condition
Floors = Mapping[str, float]  # detector -> the score below which it keeps nothing today


def groups(
    labels: Facets,
    kinds: Facets,
    decided: Facets,
    failed: Facets,
    filters: AssetQuery,
    palette: dict[str, str],
    floors: Floors,
) -> list[components.Group]:
    """The filters that have options.

    `labels`, `kinds`, `failed`: counts without the filters of labels, of kinds, of reasons of failures. `decided`:
    counts with all filters, of which those of decisions and tags are shown.

    A filter does not apply to its own counts, so that a second value can be added. Labels whose best score is below
    the floor of their detector are left out: they come from earlier settings, and are mostly wrong.
    """
    by_detector = [
        _option(name, count, draw.color(name, palette), condition=_condition(Detected(name)))
        for name, count in labels.found_by.items()
    ]
    kind_options = [
        _option(kind, count, text=_(kind), condition=_condition(Fact("kind", "=", kind)))
        for kind, count in kinds.kinds.items()
    ]
    is_failed = ("failed",) if filters.failed else ()
    made = [
        _group("kind", _("Kind"), kind_options, filters.kind),
        _group(
            "decision", _("Decision"), [_option(*counted) for counted in decided.decisions.items()], filters.decision
        ),
        _group("tag", _("Tag"), [_option(*counted) for counted in decided.tags.items()], filters.tag),
        _group("state", _("State"), [_option("failed", kinds.failed, text=_("failed"))], is_failed),
        _group(REASON, _("Failed, because"), _reason_options(failed), reasons.chosen(filters.where)),
        _group("job", _("Job"), [_option(job, labels.total) for job in filters.job], filters.job),
        _group("detector", _("Found by"), by_detector, filters.detector),
        _group("detector_label", _("Label"), _label_options(labels, filters, palette, floors), filters.detector_label),
        _group("label", _("Label, by any detector"), [], filters.label),
    ]
    return [group for group in made if group["options"]]


def strong(facets: Facets, floors: Floors) -> list[Facet]:
    """The labels with a file in which their score is at least the floor of their detector."""
    return [facet for facet in facets.detectors if facet.score >= floors.get(facet.detector, 0)]


def without_weak(asset: Asset, floors: Floors) -> Asset:
    """The file without labels and boxes whose score is below the floor of their detector."""
    return asset.model_copy(
        update={
            "labels": [label for label in asset.labels if label.score >= floors.get(label.detector, 0)],
            "boxes": [box for box in asset.boxes if box.score >= floors.get(box.detector, 0)],
        }
    )


def _label_options(
    facets: Facets, filters: AssetQuery, palette: dict[str, str], floors: Floors
) -> list[components.Option]:
    """One option per detector and label; a label of several detectors is shown with the detector's name."""
    shown = [facet for facet in strong(facets, floors) if not filters.detector or facet.detector in filters.detector]
    labels = [facet.label for facet in shown]
    options = []
    for facet in shown:
        text = f"{facet.label} ({facet.detector})" if labels.count(facet.label) > 1 else facet.label
        value = f"{facet.detector}:{facet.label}"
        condition = _condition(Detected(facet.detector, facet.label))
        options.append(_option(value, facet.count, draw.color(facet.detector, palette), text, condition))
    return options


def _reason_options(facets: Facets) -> list[components.Option]:
    """One option for each reason of failures; those whose conditions are equal are one."""
    options: dict[str, components.Option] = {}
    for group in facets.failures:
        condition = reasons.condition(group.reason)
        option = options.setdefault(condition, _option(condition, 0, "", f"{group.step}: {group.reason}", condition))
        option["count"] += group.count
    return list(options.values())


def _condition(of: Detected | Fact) -> str:
    return write([Alternative(of)])


def _option(value: str, count: int, color: str = "", text: str = "", condition: str = "") -> components.Option:
    return {
        "value": value,
        "text": text or value,
        "count": count,
        "chosen": False,
        "color": color,
        "condition": condition,
    }


def _group(name: str, title: str, options: list[components.Option], chosen: tuple[str, ...]) -> components.Group:
    """A filter with its options by descending count. Chosen options are kept even if their count is 0."""
    absent = set(chosen) - {option["value"] for option in options}
    options = [*options, *(_option(value, 0, "", _shown(name, value)) for value in absent)]
    for option in options:
        option["chosen"] = option["value"] in chosen
    kept = [option for option in options if option["count"] or option["chosen"]]
    return {
        "name": name,
        "title": title,
        "options": sorted(kept, key=lambda option: (-option["count"], option["value"])),
    }


def _shown(name: str, value: str) -> str:
    """The text of an option that no file has: of a reason without its field."""
    if name in ("kind", "state"):
        return _(value)
    return value.removeprefix("error~") if name == REASON else value
