"""`raysift erase`: remove files, a person, jobs or old results from every store, with a proof. Dry run first."""

from typing import Annotated

import typer

from cluster.errors import SettingsError

Strings = list[str] | None


def erase(
    asset: Annotated[Strings, typer.Option(help="Files, by asset id or URI, with their members; repeatable.")] = None,
    under: Annotated[Strings, typer.Option(help="Everything in this folder, bucket or container.")] = None,
    person: Annotated[
        str | None, typer.Option(help="A person: hits, vectors of the face, thumbnails that show it, photos.")
    ] = None,
    job: Annotated[Strings, typer.Option(help="What these jobs have stored, and their folders; repeatable.")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="What was analysed last so many days ago or more: 90d.")
    ] = None,
    retention: Annotated[
        bool, typer.Option("--retention", help="As --older-than with the setting retention.days.")
    ] = False,
    source: Annotated[
        Strings, typer.Option("--from", help="Further folders of results, of no job in the list of jobs.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would be erased.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an erasure that was interrupted.")] = False,
) -> None:
    """Erase from results, vectors, catalogue, caches of all nodes, folders of jobs and logs, and prove it.

    Without --yes it is a dry run. With it, Raysift is stopped for the erasure: `raysift up` starts it again. The
    original media are not touched. A legal hold forbids it. Exits 1 if something is left.
    """
    given = [name for name, value in (
        ("--asset", asset), ("--under", under), ("--person", person), ("--job", job), ("--older-than", older_than),
        ("--retention", retention), ("--resume", resume),
    ) if value]  # fmt: skip
    if len(given) != 1:
        raise SettingsError(
            "say what to erase by one of --asset, --under, --person, --job, --older-than, --retention, --resume; "
            f"given: {', '.join(given) or 'none'}."
        )
    # imported only now: other commands do not wait for numpy and pyarrow
    from commands.erasure import planning, running

    if resume:
        running.resume()
        return
    if yes:
        running.check_idle()  # a job that goes on stores more of what is selected
    plan = planning.plan(asset or [], under or [], person, job or [], older_than, retention, source or [])
    running.run(plan, yes)
