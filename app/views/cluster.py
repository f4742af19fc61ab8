"""The Cluster page: detectors with their queues and health, GPUs, nodes and jobs, as they are now."""

import streamlit as st

from app import draw, page
from app.language.texts import _, counted
from app.upkeep import calls, cluster, queues, tables

_REFRESH_S = 3  # the API asks the nodes every five seconds, which write new values every ten


def show() -> None:
    """Draw the page."""
    if not page.may_for_all("operator"):
        st.warning(_("This page is for operators who may see the files of all cases."))
        return
    st.markdown(f"#### {_('Cluster')}")
    tables.styles()
    with page.steady("cluster"):
        st.fragment(run_every=_REFRESH_S)(_state)()


def _state() -> None:
    with page.guarded():
        state = calls.cluster(page.api())
        for sentence in cluster.gaps(state):
            st.warning(draw.escape(sentence))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(draw.escape(cluster.jobs(state)), width="content")
            st.page_link("views/jobs.py", label=_("Jobs"), icon=":material/checklist:")
        st.markdown(f"##### {_('Detectors')}")
        if state.detectors:
            cluster.detectors(state)
        else:
            st.info(_("No detector is served: settings.yaml has switched all off."))
        queues.draw(state)
        st.markdown(f"##### {_('GPUs')}")
        if state.cards:
            cluster.cards(state)
        elif state.age_s is not None and not state.silent:
            st.caption(_("No node has a GPU that Ray knows: detectors run on CPUs, large models slowly."))
        else:
            st.caption(_("Which GPUs there are is not known now."))
        st.markdown(f"##### {_('Nodes')}")
        if state.nodes:
            cluster.nodes(state)
        else:
            st.caption(_("Which nodes there are is not known now. `raysift doctor` on the head says more."))
        if state.age_s is not None:
            age = counted("The metrics are {n} second old.", "The metrics are {n} seconds old.", round(state.age_s))
            st.caption(age)
        st.caption(
            _(
                "Ray's dashboard has more, with Ray's token: {url}, on the head only. From elsewhere, "
                "`ssh -L {port}:127.0.0.1:{port} HEAD` leads there.",
                url=draw.escape(state.dashboard_url),
                port=state.dashboard_url.rpartition(":")[2],
            )
        )


with page.guarded():
    show()
