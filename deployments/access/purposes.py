"""The purpose of what is recorded in the audit log: the header X-Purpose of a request."""

from fastapi import HTTPException, Request

from cluster.access.rules import PURPOSE_HEADER, PURPOSE_VARIABLE, AccessRules, purpose_in


def purpose(request: Request, rules: AccessRules, needed: bool = True) -> dict[str, str]:
    """The field `purpose` of an audit record; empty if the request gives none. `needed`: the act needs one by `rules`.

    HTTPException 403 if it is missing.
    """
    if given := purpose_in(request.headers.get(PURPOSE_HEADER, "")):
        return {"purpose": given}
    if needed and rules.purpose_required:
        raise HTTPException(
            403,
            f"this needs a purpose, which is recorded: send it as the header {PURPOSE_HEADER}; commands take it from "
            f"--purpose or {PURPOSE_VARIABLE}, and the app asks for it",
        )
    return {}
