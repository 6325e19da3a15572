"""What commands that work row by row say at the end, and their exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

EXIT_FAILURE = 1
_SHOWN = 5


class Summary:
    """Counts rows and remembers the first errors.

    Args:
        things: what the rows are, such as `structures`.
        done: what was to be done with them, such as `predicted`.
    """

    def __init__(self, things: str, done: str) -> None:
        self._things = things
        self._done = done
        self._errors: list[str] = []
        self._failed = 0
        self.count = 0

    def watch(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows, counted as they pass."""
        for row in rows:
            self.note(row.get("error", ""))
            yield row

    def note(self, error: str) -> None:
        """Count a row.

        Args:
            error: what is wrong with it, or an empty string.
        """
        self.count += 1
        if error:
            self._failed += 1
            if len(self._errors) < _SHOWN:
                self._errors.append(f"  {error}")

    def finish(self, *, strict: bool) -> None:
        """Tell of errors on stderr; end with exit code 1 if no row is good, or, if
        strict, if one is bad.
        """
        if not self._failed:
            return
        click.echo(
            f"{self._failed} of {self.count} {self._things} could not be {self._done}:", err=True
        )
        for text in self._errors:
            click.echo(text, err=True)
        if self._failed > len(self._errors):
            click.echo(f"  and {self._failed - len(self._errors)} more", err=True)
        if strict or self._failed == self.count:
            sys.exit(EXIT_FAILURE)
