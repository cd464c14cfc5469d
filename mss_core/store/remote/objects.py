"""The six verbs of an object store: create, swap, read, list, delete, upload.

Amazon S3, and what speaks like it, Google Cloud Storage and Azure are reached through obstore. Everything that is
decided is decided by two of the verbs. ``create`` puts an object that must not be there (If-None-Match: *), ``swap``
replaces one that must be as it was read (If-Match with its ETag, on Google Cloud its generation). An upload of a file
decides nothing and may be repeated.

Names are below the URL's prefix. What does not answer is an OSError that counts as transient (``disk.passes``), what
refuses the credentials a PermissionError.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mss_core import disk
from mss_core.store.place import OBJECTS, is_url

T = TypeVar("T")
Stamp = Mapping[str, Any]
"""What tells one version of an object from every other: its ETag and, where the store has them, its version."""

INSTALL = "pip install 'mss-ablation[object-store]'"
RETRIES, PATIENCE = 10, datetime.timedelta(seconds=180)
"""How often and how long one request is tried again: about a minute where nobody answers."""

_MEMORY: dict[str, Any] = {}


@dataclass(frozen=True)
class Found:
    """An object's content, and the stamp of the version that it is of."""

    content: bytes
    stamp: Stamp


class Objects:
    """An object store below a URL, such as ``s3://bucket/prefix``; the module's docstring has its rules.

    ``retries`` is how often a request is tried again that nobody answers. Raises ValueError for a URL that is none,
    RuntimeError where obstore is not installed.
    """

    def __init__(self, url: str, retries: int = RETRIES) -> None:
        self.url = url.rstrip("/")
        self._held = _opened(self.url, retries)

    def create(self, name: str, content: bytes) -> Stamp | None:
        """Put an object that is not there yet, and return its stamp; None where one of that name is there."""
        return self._put(name, content, "create")

    def swap(self, name: str, content: bytes, stamp: Stamp) -> Stamp | None:
        """Replace the version of an object that has this stamp; None where it has changed, or is gone."""
        return self._put(name, content, {key: value for key, value in stamp.items() if value is not None})

    def read(self, name: str) -> Found | None:
        """An object's content; None where there is none."""
        import obstore

        def get() -> Found:
            got = obstore.get(self._held, name)
            return Found(bytes(got.bytes()), _stamp(got.meta))

        try:
            return self._asked(name, get)
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> dict[str, int]:
        """The names below a prefix that ends in a slash, with their sizes in bytes."""
        import obstore

        def look() -> dict[str, int]:
            return {str(each["path"]): int(each["size"]) for part in obstore.list(self._held, prefix) for each in part}

        return self._asked(prefix, look)

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        import obstore

        with contextlib.suppress(FileNotFoundError):
            self._asked(name, lambda: obstore.delete(self._held, name))

    def upload(self, name: str, path: Path) -> None:
        """Put a file as an object, whatever was there. Nobody sees a part of it."""
        import obstore

        self._asked(name, lambda: obstore.put(self._held, name, path))

    def download(self, name: str, path: Path, sha256: str) -> str | None:
        """Read a large object into a file. Returns what is wrong with it, or None: then the file has this checksum.
        A file that is wrong is never seen under its name."""
        import obstore

        temporary = path.with_name(f".{path.name}.{disk.token()}.tmp")
        hashed = hashlib.sha256()

        def get() -> None:
            with disk.opened(temporary, "xb") as file:
                for part in obstore.get(self._held, name).stream(min_chunk_size=2**22):
                    hashed.update(part)
                    file.write(part)
                disk.sync(file)

        try:
            self._asked(name, get)
            if hashed.hexdigest() != sha256:
                return f"{name} has another checksum than its manifest"
            disk.rename(temporary, path)
            return None
        except FileNotFoundError:
            return f"{name} is missing in {self.url}"
        finally:
            with contextlib.suppress(OSError):
                disk.unlink(temporary)

    def _put(self, name: str, content: bytes, mode: Any) -> Stamp | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def put() -> Stamp | None:
            try:
                return _stamp(obstore.put(self._held, name, content, mode=mode))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return None

        return self._asked(name, put)

    def _asked(self, name: str, call: Callable[[], T]) -> T:
        """What a call returns; its errors as the module's docstring has them."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            return call()
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError(errno.EACCES, f"the object store refuses this: {_short(error)}", name) from error
        except BaseError as error:
            raise OSError(errno.EIO, f"the object store does not answer: {_short(error)}", name) from error


def probe(objects: Objects) -> None:
    """Try each verb on an object that is removed again.

    Raises RuntimeError where the store cannot be reached, refuses the credentials, or lacks what keeps two writers
    apart; the message names it. Stores that are said to be compatible with S3 differ in this.
    """
    name = f"probe/{disk.token()}"
    missing = ""
    try:
        first = objects.create(name, b"1")
        if first is None or objects.create(name, b"2") is not None:
            missing = "refuse to put an object that is there (If-None-Match: *)"
        else:
            missing = _lacks_swap(objects, name, first)
        objects.delete(name)
    except NotImplementedError as error:
        with contextlib.suppress(OSError, NotImplementedError):
            objects.delete(name)
        missing = f"replace an object only where it has not changed (If-Match: {_short(error)})"
    except OSError as error:
        raise RuntimeError(
            f"--store {objects.url}: {error.strerror}. Its address and its credentials are read from the environment, "
            f"as {_said(objects.url)}"
        ) from None
    if missing:
        raise RuntimeError(
            f"--store {objects.url}: this object store does not {missing}; without that two machines could commit the "
            "same stage. A file system that all machines share will do instead (docs/cluster.md)"
        )


def _lacks_swap(objects: Objects, name: str, first: Stamp) -> str:
    second = objects.swap(name, b"3", first)
    if second is None or objects.swap(name, b"4", first) is not None:
        return "replace an object only where it has not changed (If-Match)"
    found = objects.read(name)
    if found is None or found.content != b"3" or name not in objects.list("probe/"):
        return "show an object as it was written last, in what is read and in what is listed"
    return "" if objects.swap(name, b"5", found.stamp) is not None else "give an object one ETag, written or read"


def _said(url: str) -> str:
    """The variables that obstore reads for a kind of store."""
    kinds = {"gs": "GOOGLE_SERVICE_ACCOUNT", "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"}
    kinds |= dict.fromkeys(("abfs", "abfss"), kinds["az"])
    s3 = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for a server of your own, AWS_ENDPOINT_URL"
    return kinds.get(url.partition("://")[0], s3)


def _opened(url: str, retries: int) -> Any:
    if not is_url(url):
        raise ValueError(f"--store {url} is no object store; choose from {', '.join(f'{each}://' for each in OBJECTS)}")
    try:
        from obstore.exceptions import BaseError
        from obstore.store import MemoryStore, from_url
    except ModuleNotFoundError:
        raise RuntimeError(f"--store {url} needs obstore, which is not installed: {INSTALL}") from None
    if url.startswith("memory://"):  # of this process alone: for trying things
        return _MEMORY.setdefault(url, MemoryStore())
    options: dict[str, Any] = {}
    if not url.startswith("file://"):
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        options["client_options"] = {
            "connect_timeout": "5s",
            "timeout": "300s",
            **({"allow_http": True} if plain else {}),
        }
        options["retry_config"] = {"max_retries": retries, "retry_timeout": PATIENCE}
    try:
        return from_url(url, **options)
    except (BaseError, ValueError, OSError) as error:
        raise ValueError(
            f"--store {url} cannot be used: {_short(error)}; credentials are read from the environment, as {_said(url)}"
        ) from None


def _stamp(meta: Mapping[str, Any]) -> Stamp:
    return {"e_tag": meta.get("e_tag"), "version": meta.get("version")}


def _short(error: BaseException) -> str:
    """The first line of what obstore says."""
    return " ".join(str(error).partition("Debug source")[0].split()) or type(error).__name__
