"""Objects of S3 whose keys pyarrow refuses: those with an empty part, such as a//b.jpg, /b.jpg and b.jpg/."""

from functools import lru_cache
from typing import Any

from cluster.storage.filesystems import FORBIDDEN_CODES, s3_client
from cluster.storage.seekable import SeekableFile

ATTEMPTS = 4


def is_refused(uri: str) -> bool:
    """Whether pyarrow refuses the key of an S3 URI."""
    return uri.startswith("s3://") and "" in uri.removeprefix("s3://").partition("/")[2].split("/")


class S3Object(SeekableFile):
    """An object through boto3, to read and seek in: one request a read. OSError as pyarrow raises it."""

    def __init__(self, uri: str, s3_endpoint: str | None) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")  # not normalized: that would change the key
        self._uri, self._place = uri, {"Bucket": bucket, "Key": key}
        self._client = _client(s3_endpoint)
        head = self._asked("head_object")
        super().__init__(int(head["ContentLength"]))
        self._etag = str(head["ETag"])

    def metadata(self) -> dict[str, bytes]:
        """The ETag, as a file of pyarrow has it."""
        return {"ETag": self._etag.encode()}

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer and return how many; 0 at the end."""
        wanted = max(0, min(len(buffer), self._size - self._at))
        if not wanted:
            return 0
        content = self._asked("get_object", Range=f"bytes={self._at}-{self._at + wanted - 1}", IfMatch=self._etag)
        buffer[:wanted] = content["Body"].read()
        self._at += wanted
        return wanted

    def _asked(self, what: str, **more: str) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, what)(**self._place, **more)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("404", "NoSuchKey"):
                raise FileNotFoundError(self._uri) from error
            if code in FORBIDDEN_CODES:
                raise PermissionError(self._uri) from error
            raise OSError(f"the server answers {code}") from error
        except BotoCoreError as error:
            raise OSError(str(error)) from error


@lru_cache(maxsize=8)
def _client(s3_endpoint: str | None) -> Any:
    return s3_client(s3_endpoint, ATTEMPTS)
