"""Whose fault it was: the file's or the operator's. All else is a bug or the cluster's."""


class MediaError(Exception):
    """The file's fault: it is empty, broken, too large or not what its name says. It becomes a row with its reason."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason

    def __reduce__(self) -> tuple[type["MediaError"], tuple[str, str]]:
        return MediaError, (self.step, self.reason)


class SettingsError(Exception):
    """The operator's fault: a plain sentence that names the key, URI or name and says what to do."""


class NothingThere(SettingsError):
    """A place that an operator named holds nothing; it was looked at, so trying again does not help."""


class DiskFull(OSError):
    """A file system of one machine has no space left: the message names the folder and the machine."""
