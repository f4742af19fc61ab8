"""Containers that are told only when they are decoded, by a name such as x.jpg: their members are parts of their row.

The listing takes files with a known suffix without a look at their bytes. To turn such a container into units of its
own would need a second listing; so its members are analysed with it, and each finding names the one it was found in.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.errors import MediaError
from cluster.records import Finding, MediaItem, Result
from cluster.settings import Decoding
from cluster.storage.members import member_uri
from pipelines.archives.limits import Limits
from pipelines.archives.opening import Member, Others
from pipelines.archives.telling import STEP, contents, not_seen, too_deep
from pipelines.detect.fan_out import File
from pipelines.media.pool import Decoder

TOLD = "an archive, document or mail, whatever its name says; what was found in it names the file in it"
TOGETHER = 8  # members that are unpacked and analysed at a time

AnalyzeMembers = Callable[[list[File]], Awaitable[list[Result]]]


@dataclass(frozen=True, slots=True)
class _Container:
    path: Path
    name: str  # in the container that the file is, with a "!" at its end; empty: it is the file
    depth: int


async def look_into(
    file: File, decoder: Decoder, decoding: Decoding, analyze_members: AnalyzeMembers, limits: Limits | None = None
) -> None:
    """Add to a file that is a container what is found in its members, and in those of containers in it."""
    assert isinstance(file.source, Path)
    limits = limits or Limits()
    left, kinds, others = limits, list[str](), Counter[str]()
    problems: dict[str, list[str]] = {}
    waiting = [_Container(file.source, "", 0)]
    while waiting:
        container = waiting.pop(0)
        if container.depth >= limits.depth:
            problems.setdefault(too_deep(limits.depth), []).append(container.name.removesuffix("!"))
            continue
        members, error = await asyncio.to_thread(_listed, container.path, decoder, decoding, left)
        if error is not None:
            file.fail(STEP, " ".join(filter(None, [container.name, error.reason])))
        for one in members:
            if isinstance(one, Others):
                others.update(one.counts)
            elif one.problem is not None:
                problems.setdefault(one.problem, []).append(container.name + one.name)
        inner = [one for one in members if isinstance(one, Member) and one.problem is None]
        taken = sum(one.size for one in inner)
        left = replace(left, members=left.members - len(inner), total_bytes=max(0, left.total_bytes - taken))
        kinds += [str(one.kind) for one in inner]
        folder = container.path.with_name(f"{container.path.name}.members")
        for begin in range(0, len(inner), TOGETHER):
            together = inner[begin : begin + TOGETHER]
            failed = await asyncio.to_thread(_unpack, container.path, together, folder, decoder, decoding, limits)
            for one in together:
                if one.n in failed:
                    problems.setdefault(failed[one.n], []).append(container.name + one.name)
            there = [one for one in together if one.n not in failed]
            made = [await asyncio.to_thread(_file, file, container.name + one.name, one, folder) for one in there]
            for one, result in zip(there, await analyze_members(made), strict=True):
                _add(file, container.name + one.name, result, problems)
                if one.kind == "container":
                    waiting.append(_Container(folder / str(one.n), f"{container.name}{one.name}!", container.depth + 1))
                else:
                    (folder / str(one.n)).unlink()
    for problem, names in problems.items():
        file.fail(STEP, not_seen(names, problem))
    file.contents = "; ".join(filter(None, [TOLD, contents(kinds, others)]))


def _listed(
    path: Path, decoder: Decoder, decoding: Decoding, limits: Limits
) -> tuple[list[Member | Others], MediaError | None]:
    """The members of a container, and the error that ended them, if any."""
    members: list[Member | Others] = []
    try:
        members.extend(decoder.members(path, decoding, limits))
    except MediaError as error:
        return members, error
    return members, None


def _unpack(
    path: Path, members: Iterable[Member], folder: Path, decoder: Decoder, decoding: Decoding, limits: Limits
) -> dict[int, str]:
    """Unpack members into a folder; returns number -> reason of those that are not there then.

    A container that is read from its beginning yields all members at once; they are kept until their turn.
    """
    folder.mkdir(exist_ok=True)
    wanted = [member.n for member in members if not (folder / str(member.n)).exists()]
    failed, reason = dict[int, str](), "it is not in its container any more"
    try:
        if wanted:
            for n, problem in decoder.extract(path, wanted, folder, decoding, limits):
                if problem is not None:
                    failed[n] = problem
    except MediaError as error:  # the container may break after some of them
        reason = error.reason
    return {n: failed.get(n, reason) for n in wanted if not (folder / str(n)).exists()}


def _file(outer: File, name: str, member: Member, folder: Path) -> File:
    path = folder / str(member.n)
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    item = MediaItem(member_uri(outer.item.uri, name), path.stat().st_size, "", member.kind, outer.item.uri)
    return File(item, path, sha256, outer.wanted)


def _add(file: File, name: str, result: Result, problems: dict[str, list[str]]) -> None:
    """Add the result of a member to that of the file."""
    file.findings += [_of_member(finding, name) for finding in result.findings]
    for failure in result.failures:
        if failure.step == "decode":
            problems.setdefault(failure.reason, []).append(name)
        else:  # a detector, which will have to analyse the file again
            file.fail(failure.step, failure.reason)
    for usage in result.usage:
        file.charge(usage.detector, usage.seconds, usage.gpu_seconds)
    file.frames += result.frames
    file.frames_propagated += result.frames_propagated
    file.thumbnail = file.thumbnail or result.thumbnail
    file.has_file_text = True


def _of_member(finding: Finding, name: str) -> Finding:
    evidence = "; ".join(filter(None, [f"in {name}", finding.detection.evidence]))
    return replace(finding, detection=replace(finding.detection, evidence=evidence))
