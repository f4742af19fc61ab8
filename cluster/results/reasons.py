"""Reasons of failures, grouped: sentences that differ only in numbers, addresses and quoted names are alike."""

import re


def alike(reason: str) -> str:
    """The reason with numbers, addresses and quoted names replaced, which differ from file to file."""
    plain = re.sub(r"""(?<!\w)(['"`]).*?\1(?!\w)|“.*?”""", "…", reason)
    plain = re.sub(r"\b[a-z0-9]+://\S+|(?<!\w)/\S+", "…", plain)
    return re.sub(r"\d[\d.,_]*\d|\d", "N", plain)
