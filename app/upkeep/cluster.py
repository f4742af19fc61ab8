"""What the Cluster page shows: nodes, GPUs, detectors and jobs, in words and tables."""

from app.language.formats import number, percent
from app.language.texts import N_, _, counted
from app.language.wording import size
from app.upkeep import tables
from app.upkeep.tables import Html
from cluster.api_types import DetectorState
from cluster.records import JobState
from cluster.upkeep.api_types import ClusterState, DetectorLoad, NodeState, Unread

JOBS: tuple[JobState, ...] = ("waiting", "listing", "running", "blocked")
NONE = "-"
_KINDS: dict[DetectorState, str] = {
    DetectorState.OK: "good",
    DetectorState.ASLEEP: "",
    DetectorState.BUSY: "good",
    DetectorState.DOWN: "bad",
    DetectorState.FAILING: "bad",
    DetectorState.SILENT: "bad",
}
_WHY: dict[DetectorState, str] = {
    DetectorState.OK: N_("It answers its example."),
    DetectorState.ASLEEP: N_("It has no replica: the next call starts one."),
    DetectorState.BUSY: N_("Its example waits behind other calls."),
    DetectorState.DOWN: N_("None of its replicas runs."),
}
# states of which the API's message says more
_SAID = (DetectorState.BUSY, DetectorState.FAILING, DetectorState.SILENT)
_UNREAD: dict[Unread, str] = {
    "nodes": N_("Ray's head does not list its nodes: it is away, or busy."),
    "metrics": N_("The nodes' metrics are not read: queues, GPUs and rates are missing or old."),
    "health": N_("The health of the detectors is being asked; busy ones answer late."),
}


def gaps(state: ClusterState) -> list[str]:
    """A sentence for each part of the state that is not known now."""
    begins = "metrics" in state.unread and state.age_s is None and bool(state.nodes)
    found = [_(_UNREAD[part]) for part in state.unread if part != "metrics" or not begins]
    if begins:
        found.append(_("The nodes' metrics are being read: queues, GPUs and rates come in a few seconds."))
    if state.silent:
        found.append(
            _("The metrics of these nodes are not read: {nodes}. Their GPUs and queues are missing.",
              nodes=", ".join(state.silent))
        )  # fmt: skip
    return found


def jobs(state: ClusterState) -> str:
    """The number of jobs by state, and the speed of scans."""
    if state.jobs is None:
        counts = _("Jobs: not known now")
    else:
        by_state = [f"{number(state.jobs[name])} {_(name)}" for name in JOBS if state.jobs.get(name)]
        counts = _("Jobs: {jobs}", jobs=", ".join(by_state)) if by_state else _("No job waits or runs")
    speed = [] if not state.files_per_s else [_("{n} files a second", n=number(state.files_per_s, 1))]
    return " · ".join([counts, *speed])


def detectors(state: ClusterState) -> None:
    """Draw the table of the detectors."""
    columns = [
        *(_("Detector"), _("State"), _("Replicas"), _("Waiting"), _("Running")),
        *(_("Samples a second"), _("From the cache"), _("GPU memory")),
    ]
    tables.draw(_("Detectors"), columns, [_detector(load) for load in state.detectors], numbers=range(2, 8))


def _detector(load: DetectorLoad) -> list[str]:
    counts = [NONE if n is None else number(n) for n in (load.replicas, load.waiting, load.working)]
    rate = NONE if load.samples_per_s is None else number(load.samples_per_s, 1)
    hits = NONE if load.cache_hits is None else percent(load.cache_hits)
    return [load.name, _health(load), *counts, rate, hits, size(_whole(load.gpu_memory)) or NONE]


def _health(load: DetectorLoad) -> Html:
    if load.state is None:
        return tables.state(_("not known now"), "")
    word = tables.state(_(load.state.value), _KINDS[load.state])
    why = _WHY.get(load.state)
    # what the API found out about a fault is not translated, as everywhere
    return tables.small(word, _(why) if why else "", load.message if load.state in _SAID else "")


def cards(state: ClusterState) -> None:
    """Draw the table of the GPUs."""
    rows = []
    for card in state.cards:
        total = card.memory_total
        words = size(_whole(card.memory_used))
        if total:
            words = _("{n} of {total}", n=words, total=size(_whole(total)))
        memory = tables.share(card.memory_used / total if total else None, words)
        rows.append([card.name, card.node, memory, tables.share(card.use, percent(card.use))])
    tables.draw(_("GPUs"), [_("GPU"), _("Node"), _("Memory"), _("In use")], rows)


def nodes(state: ClusterState) -> None:
    """Draw the table of the nodes."""
    columns = [_("Node"), _("State"), _("CPUs"), _("Memory"), _("Disk"), _("Object store")]
    tables.draw(_("Nodes"), columns, [_node(node) for node in state.nodes])


def _node(node: NodeState) -> list[str]:
    roles = [_("head")] if node.head else []
    name = tables.small(node.name, ", ".join([node.address, *roles]))
    if not node.alive:
        return [name, tables.state(_("gone"), "bad"), NONE, NONE, NONE, NONE]
    gpus = [counted("{n} GPU", "{n} GPUs", int(node.gpus))] if node.gpus else []
    cpus = number(node.cpus)
    if node.cpu_use is not None:
        cpus = _("{share} of {n}", share=percent(node.cpu_use), n=cpus)
    used = None if node.disk_total is None or node.disk_free is None else node.disk_total - node.disk_free
    sizes = [
        _used(node.memory_used, node.memory_total),
        _used(used, node.disk_total),
        _used(node.store_used, node.store_total),
    ]
    return [name, tables.state(_("runs"), "good"), tables.small(tables.share(node.cpu_use, cpus), *gpus), *sizes]


def _used(used: float | None, total: float | None) -> str:
    if used is None or not total:
        return NONE
    return tables.share(used / total, _("{n} of {total}", n=size(_whole(used)), total=size(_whole(total))))


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
