"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nmrtk.errors import DataError

_BLOCK = 1 << 20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder, and move it to `path` if the block succeeds.

    On any failure, Ctrl-C included, the temporary file is removed and `path` stays as it was.
    Missing folders are made.

    Args:
        path: the final name.

    Raises:
        DataError: the file cannot be written; names it and the cause.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    with _write_errors(path):
        target = path.resolve()  # where a link leads: the link itself stays
        if target.parent.exists() and not target.parent.is_dir():
            raise OSError(None, f"{target.parent} is not a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raise OSError(None, "a folder" if target.is_dir() else "not an ordinary file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with _write_errors(path):
            # At once, so that hours of work do not end at a folder that cannot be written.
            temporary.touch(exist_ok=False)
            yield temporary
            # A full disk may show itself only when the system writes its buffers out.
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically.

    Raises:
        DataError: the file cannot be written; names it and the cause.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {cause_of(error)}") from error
    return digest.hexdigest()


def cause_of(error: OSError) -> str:
    """The cause without the path, which messages of nmrtk give themselves."""
    return error.strerror or str(error) or type(error).__name__


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {cause_of(error)}. Choose another place with -o, "
            "or free this one"
        ) from error
