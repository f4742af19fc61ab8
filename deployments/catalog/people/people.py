"""The catalogue's methods for people. What a limited caller may not see is as if it were not there."""

from collections.abc import Callable, Sequence
from functools import partial

from cluster.access.audit import Recorder
from cluster.access.identity import Identity, Prefixes
from cluster.errors import SettingsError
from cluster.people.api_types import (
    Chosen,
    Corrected,
    GroupPage,
    GroupQuery,
    Merge,
    NewName,
    PeoplePage,
    PeopleQuery,
    Reject,
    TakenBack,
)
from cluster.people.face import place_of
from cluster.people.store import FaceChanged, FaceStore
from deployments.catalog import queries as sql
from deployments.catalog.database import Database
from deployments.catalog.people import correcting, shapes
from deployments.catalog.people.compared import Comparison, Comparisons
from deployments.catalog.people.correcting import Changes
from deployments.catalog.people.faces import is_face
from deployments.catalog.people.grouping import FaceGroup, Grouping
from deployments.catalog.shapes import Json

_SHOWING = """select distinct f.uri, f.parent from detections d join files f using (asset)
    where d.detector = 'face' and d.label = ?"""
_FOUND = """select b.label, count(*) as n from best b join files f using (asset)
    where b.detector = ? and {visible} group by all"""
Outcome = Corrected | FaceChanged | None  # None: there is no such group
NAMED = "group of faces named"  # what the audit log says of a correction
MERGED, SPLIT, REJECTED = "groups of faces merged", "group of faces split", "faces rejected"


class People:
    """The methods; the catalogue that inherits them has the comparisons of faces, the decisions on them, the audit log.

    A correction is in the audit log before it is committed: there is none without a record, also after a crash.

    `within`: the folders of the caller, and of the case. `distance`: that at which a face is an enrolled person, a
    setting of the detector. A group is named by a face in it. VectorsDown if the vector store does not answer.
    `where`: the address that a request comes from, `why`: its purpose, for the record.
    """

    _record: Recorder
    _database: Database
    _faces: FaceStore
    _comparisons: Comparisons
    location: Callable[[str, Prefixes], Json | None]
    thumbnail: Callable[[str, Prefixes], Json | None]

    def people(self, query: PeopleQuery, distance: float, within: Prefixes, who: Identity) -> PeoplePage:
        """A page of the groups of faces in these files."""
        compared, pending = self._comparisons.of(within, distance)
        counts = {"total": 0, "faces": 0, "alone": 0, "unclear": 0, "no_faces": 0, "left_out": 0}
        page = {"page": query.page, "size": query.size, "pending": pending, "last": self._faces.last(who)}
        if compared is None:
            return PeoplePage(groups=(), **counts, **page)
        grouping = self._grouping(compared)
        letters = query.name.strip().casefold()
        groups = [group for group in grouping.groups if letters in (group.name or "").casefold()]
        begin = (query.page - 1) * query.size
        counts |= {"total": len(groups), "faces": len(grouping.group_of), "alone": grouping.alone}
        counts |= {"no_faces": grouping.no_faces, "left_out": compared.left_out}
        counts["unclear"] = len(compared.seen.faces) - sum(counts[name] for name in ("faces", "alone", "no_faces"))
        shown = tuple(shapes.group(compared.seen, group) for group in groups[begin : begin + query.size])
        return PeoplePage(groups=shown, **counts, **page)

    def face_group(
        self, face: str, query: GroupQuery, distance: float, within: Prefixes, who: Identity
    ) -> GroupPage | None:
        """The group of a face, with a page of its faces."""
        compared, _ = self._comparisons.of(within, distance)
        group = compared and self._grouping(compared).group_of.get(compared.index.get(face, -1))
        if not compared or not group:
            return None
        members = [compared.seen.faces[n] for n in group.members]
        begin = (query.page - 1) * query.size
        return GroupPage(
            group=shapes.group(compared.seen, group),
            page=query.page,
            size=query.size,
            faces=tuple(map(shapes.face, members[begin : begin + query.size])),
            appearances=shapes.appearances(members),
            last=self._faces.last(who),
        )

    def face_source(self, face: str, within: Prefixes) -> Json | None:
        """The file of a face, as of `Catalog.location`, with the thumbnail as "jpeg", None if it has none.

        None if there is no such face in these files.
        """
        place = place_of(face)
        where = place and self.location(place.asset, within)
        if not place or not where or not is_face(self._database, face, place.asset):
            return None
        return {**where, "jpeg": (self.thumbnail(place.asset, within) or {"jpeg": None})["jpeg"]}

    def files_by_label(self, detector: str, within: Prefixes) -> dict[str, int]:
        """In how many of these files a detector has found each label, as Browse counts them."""
        visible, values = sql.within(within)
        rows = self._database.rows(_FOUND.format(visible=visible), [detector, *values])
        return {row["label"]: row["n"] for row in rows}

    def files_of_person(self, name: str) -> list[tuple[str, str | None]]:
        """URI and container of the files in which a face is this person's, by a hit or by a reviewer."""
        return [
            *((row["uri"], row["parent"]) for row in self._database.rows(_SHOWING, [name])),
            *self._faces.files_of(name),
        ]

    # ---- corrections: FaceChanged, and nothing is stored, if a group's version is not the present one

    def name_group(
        self,
        face: str,
        new: NewName,
        distance: float,
        within: Prefixes,
        who: Identity,
        where: str = "",
        **why: str,
    ) -> Outcome:
        """Give a group a name."""
        named = lambda _, grouping, group: correcting.named(grouping, group, new.name)  # noqa: E731
        record = partial(self._record, who, NAMED, face, where, name=new.name, **why)
        return self._correct(face, new.version, "named", named, distance, within, who, record)

    def merge_groups(
        self,
        face: str,
        merge: Merge,
        distance: float,
        within: Prefixes,
        who: Identity,
        where: str = "",
        **why: str,
    ) -> Outcome:
        """Make one group of several."""

        def merged(compared: Comparison, grouping: Grouping, group: FaceGroup) -> Changes | FaceChanged | None:
            groups = [group]
            for seen in merge.others:
                other = grouping.group_of.get(compared.index.get(seen.face, -1))
                if other is None:
                    return None
                if other.version != seen.version or other in groups:
                    return _changed(grouping, other)
                groups.append(other)
            return correcting.merged(grouping, groups)

        record = partial(self._record, who, MERGED, face, where, **why)
        return self._correct(face, merge.version, "merged", merged, distance, within, who, record)

    def split_group(
        self,
        face: str,
        chosen: Chosen,
        distance: float,
        within: Prefixes,
        who: Identity,
        where: str = "",
        **why: str,
    ) -> Outcome:
        """Make some faces of a group another one. SettingsError if they are all of it."""

        def split(compared: Comparison, grouping: Grouping, group: FaceGroup) -> Changes | FaceChanged:
            members = _members(compared, group, chosen.faces)
            if members is None:
                return _changed(grouping, group)
            if len(members) == len(group.members):
                raise SettingsError("body.faces: these are all faces of the group. Choose some of them.")
            return correcting.split(grouping, group, members)

        record = partial(self._record, who, SPLIT, face, where, **why)
        return self._correct(face, chosen.version, "split", split, distance, within, who, record)

    def reject_faces(
        self,
        face: str,
        reject: Reject,
        distance: float,
        within: Prefixes,
        who: Identity,
        where: str = "",
        **why: str,
    ) -> Outcome:
        """Take faces out of a group: they are not this person, or no faces."""

        def rejected(compared: Comparison, grouping: Grouping, group: FaceGroup) -> Changes | FaceChanged:
            members = _members(compared, group, reject.faces)
            if members is None:
                return _changed(grouping, group)
            return correcting.rejected(grouping, group, members, reject.reason)

        what = "not this person" if reject.reason == "person" else "not a face"
        record = partial(self._record, who, REJECTED, face, where, **why)
        return self._correct(face, reject.version, what, rejected, distance, within, who, record)

    def take_back(self, correction: int, who: Identity, where: str = "", **why: str) -> TakenBack | FaceChanged | None:
        """Restore what held before a correction; None if there is none, or the caller does not see all its files."""
        record = partial(self._record, who, "correction of faces taken back", str(correction), where, **why)
        outcome = self._faces.take_back(correction, who, record)
        return TakenBack(faces=outcome) if isinstance(outcome, int) else outcome

    def _correct(
        self,
        face: str,
        version: int,
        what: str,
        change: Callable[[Comparison, Grouping, FaceGroup], Changes | FaceChanged | None],
        distance: float,
        within: Prefixes,
        who: Identity,
        record: Callable[..., None],
    ) -> Outcome:
        """Store what `change` decides. `record` is called with the number of the correction and of its faces."""
        compared, _ = self._comparisons.of(within, distance)
        grouping = self._grouping(compared) if compared else None
        group = grouping and compared and grouping.group_of.get(compared.index.get(face, -1))
        if not compared or not grouping or not group:
            return None
        if group.version != version:
            return _changed(grouping, group)
        changes = change(compared, grouping, group)
        if changes is None or isinstance(changes, FaceChanged):
            return changes
        new = correcting.decisions(compared.seen, grouping, changes, what)
        if not new:
            raise SettingsError("body: this is so already. Nothing was changed.")
        # each decision names the version that was read above
        outcome = self._faces.correct(new, who, lambda number: record(correction=number, faces=len(new)))
        return outcome if isinstance(outcome, FaceChanged) else Corrected(correction=outcome, faces=len(new))

    def _grouping(self, compared: Comparison) -> Grouping:
        return compared.grouping(self._faces.latest())


def _members(compared: Comparison, group: FaceGroup, faces: Sequence[str]) -> list[int] | None:
    """The indices of these faces; None if one is not in the group any more."""
    chosen = {compared.index.get(face, -1) for face in faces}
    return sorted(chosen) if chosen <= set(group.members) else None


def _changed(grouping: Grouping, group: FaceGroup) -> FaceChanged:
    """Who has decided last on a face of the group."""
    entries = [grouping.decided[n][1] for n in group.members if n in grouping.decided]
    return FaceChanged(max(entries, key=lambda entry: entry.n).who if entries else "")
