"""Names of kinds, states, roles and other values of the API that are shown: `_(value)` translates them."""

from app.language.texts import N_

NAMES = (
    # kinds of files
    N_("image"),
    N_("video"),
    N_("audio"),
    N_("container"),
    N_("unknown"),
    # states of jobs
    N_("waiting"),
    N_("listing"),
    N_("running"),
    N_("blocked"),
    N_("finished"),
    N_("failed"),
    N_("cancelled"),
    # states of detectors
    N_("ok"),
    N_("asleep"),
    N_("busy"),
    N_("down"),
    N_("failing"),
    N_("silent"),
    # priorities of jobs
    N_("urgent"),
    N_("normal"),
    N_("bulk"),
    # why a scan would analyse a file
    N_("new"),
    N_("changed"),
    N_("failed before"),
    N_("unfinished"),
    N_("new model"),
    N_("lower floor"),
    N_("new detector"),
    # roles
    N_("viewer"),
    N_("reviewer"),
    N_("operator"),
    N_("admin"),
    # orders of files
    N_("newest"),
    N_("oldest"),
    N_("score"),
    N_("name"),
    # corrections of groups of faces
    N_("named"),
    N_("merged"),
    N_("split"),
    N_("not this person"),
    N_("not a face"),
)
