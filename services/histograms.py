"""What a daemon measures of its own work, as histograms of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Final

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
EVENTS: Final = (1.0, 10.0, 100.0, 500.0, 1_000.0, 2_000.0)


def buckets_of(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return what Prometheus takes: how many are within each bound, those before it included."""
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return [(name, float(sum(counts[: at + 1]))) for at, name in enumerate(names)]


class Histogram:
    """How many values are within each bound but not the one before, and the sum of all."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Histograms(Collector):
    """Histograms by name and label. One thread measures, others collect."""

    def __init__(self, label: str = "") -> None:
        """Begin with none; with a `label` each value is counted under a word for it."""
        self._labels = [label] if label else []
        self._lock = Lock()
        self._known: dict[tuple[str, str], dict[str, Histogram]] = {}

    def describe(self) -> Iterable[Metric]:
        """Return nothing: nothing is known yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the histograms."""
        with self._lock:
            for (name, text), by_word in self._known.items():
                family = HistogramMetricFamily(f"warrener_{name}", text, labels=self._labels)
                for word, each in by_word.items():
                    buckets = buckets_of(each.bounds, each.counts)
                    family.add_metric([word] if self._labels else [], buckets, each.sum)
                yield family

    def _add(self, what: tuple[str, str], word: str, bounds: Sequence[float], value: float) -> None:
        by_word = self._known.setdefault(what, {})
        if word not in by_word:
            by_word[word] = Histogram(bounds)
        by_word[word].add(value)


class FoldHistograms(Histograms):
    """How large the batches of a projector are and how long it folds them, by read model."""

    _SECONDS = ("projector_fold_seconds", "Time to fold a batch and save it.")
    _EVENTS = ("projector_batch_events", "Events of a batch that was folded.")

    def __init__(self) -> None:
        """Begin with nothing measured."""
        super().__init__("model")

    def folded(self, model: str, events: int, seconds: float) -> None:
        """Note that a batch was folded and saved."""
        with self._lock:
            self._add(self._SECONDS, model, SECONDS, seconds)
            self._add(self._EVENTS, model, EVENTS, events)


class PaceHistograms(Histograms):
    """How large the commits of a reactor are, and how long store and broker take."""

    _COMMIT = ("reactor_commit_seconds", "Time of a commit to the store.")
    _EVENTS = ("reactor_commit_events", "Events of a commit.")
    _CONFIRM = ("reactor_confirm_seconds", "Time until the broker confirmed what was sent.")

    def committed(self, events: int, seconds: float) -> None:
        """Note that events were committed."""
        with self._lock:
            self._add(self._COMMIT, "", SECONDS, seconds)
            self._add(self._EVENTS, "", EVENTS, events)

    def confirmed(self, seconds: float) -> None:
        """Note that messages were confirmed."""
        with self._lock:
            self._add(self._CONFIRM, "", SECONDS, seconds)
