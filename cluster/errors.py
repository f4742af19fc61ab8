"""Errors caused by a file or by the operator. Other exceptions are bugs or failures of the cluster."""


class MediaError(Exception):
    """Caused by the file: it is empty, broken, too large or of another type. It gets a row with the reason."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason

    def __reduce__(self) -> tuple[type["MediaError"], tuple[str, str]]:
        return MediaError, (self.step, self.reason)


class SettingsError(Exception):
    """Caused by the operator: the message names the key, URI or name and says what to do."""


class NothingThere(SettingsError):
    """A place that the operator named does not exist. It could be checked, so a retry does not help."""


class DiskFull(OSError):
    """A file system of one machine is full: the message names the folder and the machine."""
