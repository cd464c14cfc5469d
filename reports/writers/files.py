"""Files that readers see whole."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Write a text so that a reader of the file sees the old one or the new, never a part. Halves of characters, which
    UTF-8 cannot hold, are written out."""
    data = text.encode("utf-8", "backslashreplace")
    _replaced(path, lambda temporary: temporary.write_bytes(data))


def copy_file(source: Path, path: Path) -> None:
    """Copy a file's content, as `replace_file` writes."""
    _replaced(path, lambda temporary: shutil.copyfile(source, temporary))


def _replaced(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
