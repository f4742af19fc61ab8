"""`raysift compact`: gather a folder's results in few large files."""

from typing import Annotated

import typer


def compact(
    out: Annotated[str | None, typer.Option(help="A folder of results; default: settings.results_uri.")] = None,
) -> None:
    """Gather results in few large files, with the newest answer of each detector for each file. On the cluster's head.

    Answers that newer ones have superseded are left out, but for files under a legal hold. Files of jobs that are not
    over are left alone. What was replaced is deleted by a later run, six hours afterwards or more.
    """
    # imported only now: other commands do not wait for numpy and pyarrow
    from commands.results import compacting

    compacting.run(out)
