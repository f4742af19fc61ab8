"""The part of the deployment Access that owns the cases: a change of one is in the audit log before it is committed."""

from functools import partial
from typing import Any

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.cases.case import Case
from cluster.cases.store import CaseStore


class CaseKeeper:
    """Stores and returns cases, whoever asks: the API shows callers their part of them."""

    _audit: Audit
    _cases: CaseStore

    def cases(self) -> list[Case]:
        """All cases, by name."""
        return self._cases.all()

    def case(self, name: str) -> Case | None:
        """The case of that name; None if there is none."""
        return self._cases.get(name)

    def add_case(self, who: Identity, name: str, title: str, folders: tuple[str, ...], where: str) -> Case | None:
        """Make a case; None if there is one of that name."""

        def record(case: Case) -> None:
            self._audit.record(who, "case made", name, where, folders=case.folders)

        return self._cases.add(name, title, folders, who.name, record)

    def change_case(self, who: Identity, name: str, change: dict[str, Any], where: str) -> Case | None:
        """Change a case, see CaseStore.change; None if there is none of that name."""

        def record(case: Case) -> None:
            # the log leaves out values that are empty
            noted = {key: str(value) if isinstance(value, bool) else value for key, value in change.items()}
            self._audit.record(who, "case changed", name, where, **noted)

        return self._cases.change(name, **change, record=record)

    def remove_case(self, who: Identity, name: str, where: str) -> bool:
        """Delete a case; its files stay. False if there is none of that name."""
        return self._cases.remove(name, partial(self._audit.record, who, "case removed", name, where))
