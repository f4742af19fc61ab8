"""The file system of a URI, and explanations of its errors: pyarrow reads and writes, boto3 lists S3."""

import os
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from cluster.errors import SettingsError

if TYPE_CHECKING:  # settings and the command line spell URIs with this module, and do not wait for pyarrow
    from pyarrow import fs

CONNECT_S = 5
READ_S = 30
FORBIDDEN_CODES = ("AccessDenied", "AllAccessDisabled", "403")  # error codes of S3
# how pyarrow's errors of S3, Google and Azure show missing permissions: it has no exception type for them
_FORBIDDEN = ("ACCESS_DENIED", "PERMISSION_DENIED", "AuthorizationFailure", "AuthorizationPermissionMismatch")


def normalize(uri: str) -> str:
    """The canonical URI of a place: no trailing slash; of a local path, an absolute file:// URI without `.` and `..`.

    `..` is removed from a local path without resolving links. A key in a bucket is not changed. SettingsError for an
    empty URI, and for invalid characters.
    """
    is_local = "://" not in uri or uri.startswith("file://")
    try:
        uri.encode(errors="surrogateescape" if is_local else "strict")  # a local name may have bytes that are not UTF-8
    except UnicodeEncodeError:
        raise SettingsError(f"{uri!a} has invalid characters, such as \\ud800. Correct it.") from None
    if "://" not in uri:
        return Path(_absolute(uri)).as_uri()
    scheme, _, rest = uri.partition("://")
    if scheme == "file" and rest.startswith("/"):
        return Path(_absolute(os.fsdecode(unquote_to_bytes(os.fsencode(rest))))).as_uri()
    if scheme == "file":
        raise SettingsError(f"{uri}: a file URI has three slashes. Write file:///{rest} if that is the folder.")
    return f"{scheme}://{rest.rstrip('/')}"


def _absolute(path: str) -> str:
    if not path:  # it would mean the working folder of this process
        raise SettingsError("the name of a folder or file is empty. Write `.` for the current folder.")
    if "\0" in path:
        raise SettingsError(f"{path!r}: a path cannot have a NUL byte. Correct it.")
    return "/" + os.path.abspath(path).lstrip("/")  # in POSIX a leading "//" may have another meaning


def split(uri: str) -> tuple[str, str]:
    """The scheme, and the bucket with the path in it. SettingsError for an unknown scheme or a missing bucket."""
    scheme, _, rest = normalize(uri).partition("://")
    if scheme not in ("file", "s3", "gs", "az", "abfs"):
        raise SettingsError(f"{uri}: {scheme}:// is not read here. Give a folder, file://, s3://, gs:// or az://.")
    if scheme != "file" and not rest:
        raise SettingsError(f"{uri}: the name of a bucket is missing. Write {scheme}://bucket/prefix.")
    return scheme, rest


def filesystem(uri: str, s3_endpoint: str | None = None) -> "tuple[fs.FileSystem, str]":
    """The file system of a URI (file, s3, gs, az or abfs), and the path in it. SettingsError if the URI is invalid."""
    scheme, rest = split(uri)
    if scheme == "file":
        from pyarrow import fs

        return fs.LocalFileSystem(), local_path(uri)
    if scheme == "s3":
        return _s3(rest.partition("/")[0], _checked(s3_endpoint)), rest
    return (_gs() if scheme == "gs" else _azure()), rest


def local_path(uri: str) -> str:
    """The path of a file URI, percent-decoded."""
    return os.fsdecode(unquote_to_bytes(normalize(uri).removeprefix("file://")))


def is_forbidden(error: OSError) -> bool:
    """Whether a file system refused access because of missing permissions."""
    return isinstance(error, PermissionError) or any(word in str(error) for word in _FORBIDDEN)


@lru_cache(maxsize=64)  # a new one loads the credentials and, for Amazon, looks up the region
def _s3(bucket: str, endpoint: str | None) -> "fs.FileSystem":
    from pyarrow import fs

    if endpoint is None:
        return fs.S3FileSystem(region=fs.resolve_s3_region(bucket), connect_timeout=CONNECT_S)
    from boto3.session import Session

    scheme, _, host = endpoint.partition("://")
    region = Session().region_name or "us-east-1"
    return fs.S3FileSystem(endpoint_override=host, scheme=scheme, region=region, connect_timeout=CONNECT_S)


@lru_cache(maxsize=1)
def _gs() -> "fs.FileSystem":
    from pyarrow import fs

    # the default retries for 15 minutes
    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=60))


def _azure() -> "fs.FileSystem":
    from pyarrow import fs

    # by key only: without one pyarrow 26 requests a token and, if there is none, aborts the process instead of raising;
    # a SAS token would appear in its error messages. Azure's command line has the same variables.
    account, key = os.environ.get("AZURE_STORAGE_ACCOUNT"), os.environ.get("AZURE_STORAGE_KEY")
    if not account or not key:
        raise SettingsError("az:// needs an account. Set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY.")
    return fs.AzureFileSystem(account, account_key=key)


@lru_cache(maxsize=1)
def _service_files() -> Any:
    """A loader of botocore's files about S3, which keeps them: to parse them takes ten times as long as a client."""
    from botocore.session import get_session

    return get_session().get_component("data_loader")


def s3_client(endpoint: str | None, attempts: int = 3) -> Any:
    """A boto3 client with timeouts of seconds; more `attempts` retry for longer."""
    from boto3.session import Session
    from botocore.config import Config
    from botocore.session import get_session

    retries = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries=retries)
    # a new session: boto3's shared one keeps its first credentials and is not thread-safe
    session = get_session()
    session.register_component("data_loader", _service_files())
    # timestamps are not used, and parsing them takes three quarters of the time of a listing
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    return Session(botocore_session=session).client("s3", endpoint_url=_checked(endpoint), config=config)


def s3_complaint(error: Exception, uri: str, endpoint: str | None) -> str:
    """What an operator can do about an error of boto3, in one sentence."""
    from botocore import exceptions as boto

    server = endpoint or "Amazon S3"
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if isinstance(error, boto.ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchBucket":
            return f"{uri}: there is no bucket {bucket!r} at {server}. Check its name and s3_endpoint_url."
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
            return f"{uri}: {server} refuses the credentials ({code}). Correct AWS_ACCESS_KEY_ID and its secret."
        if code in FORBIDDEN_CODES:
            return f"{uri}: access denied. Allow these credentials s3:ListBucket and s3:GetObject on {bucket!r}."
        return f"{uri} cannot be listed: {server} answers {code}. Check the bucket and s3_endpoint_url."
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return f"{uri}: there are no S3 credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    if isinstance(error, boto.ParamValidationError):
        return f"{uri}: {bucket!r} cannot be the name of a bucket. Correct it."
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError):
        return f"{uri}: {server} does not answer ({type(error).__name__}). Check s3_endpoint_url and the network."
    return f"{uri} cannot be listed: {error}. Correct the AWS settings."


def _checked(endpoint: str | None) -> str | None:
    if endpoint is None or endpoint.startswith(("http://", "https://")):
        return endpoint and endpoint.rstrip("/")
    raise SettingsError(f"s3_endpoint_url: {endpoint!r} is not a URL. Write http://host:port or https://host.")
