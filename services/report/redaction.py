"""Takes secrets out of a report before it goes around as a page, by the rules of history files."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from warrener.services.histories.rules import Rules
from warrener.services.histories.values import Seen, Values
from warrener.services.report.shapes import Report
from warrener.services.shapes import Error


def without_secrets(report: Report, patterns: Sequence[str] = ()) -> Report:
    """Return a report whose errors, labels and sentences have no text that looks like a secret.

    `patterns` are names of keys beside our own; raises `UsageError` if one says nothing.
    """
    values = Values(Rules(patterns), Seen())
    return replace(
        report,
        labels={key: values.keyed(key, text) for key, text in report.labels.items()},
        error=None if report.error is None else _error(report.error, values),
        critical_path=tuple(
            replace(each, sentence=values.text(each.sentence)) for each in report.critical_path
        ),
    )


def _error(error: Error, values: Values) -> Error:
    traceback = None if error.traceback is None else values.text(error.traceback)
    return replace(error, message=values.text(error.message), traceback=traceback)
