"""One thread a process that follows the logs: folds them where nobody else does, and tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog

from warrener.domain.errors import Conflict, StoredDataError, WarrenerError
from warrener.services.logs import each_log
from warrener.services.projector import catch_up
from warrener.services.web.changes import Changes, folded_to, look
from warrener.services.web.reader import Open, Opened

POLL_SECONDS: Final = 0.1
TELL_SECONDS: Final = 0.25  # four notices a second at most
AGAIN_SECONDS: Final = 1.0  # after the store failed

logger = structlog.get_logger()


class _Ended(Exception):
    """Nobody wants it folded any more."""


class Follower:
    """Looks at the heads of the logs again and again.

    With `folds` it brings the read models up to the log, so that requests need not. `told` hears
    what changed once it is in the read models, at most every `TELL_SECONDS`. `same` gives what the
    store is, and the same as long as it is; `renewed` is called if it is another one.
    """

    def __init__(
        self,
        opens: Open,
        *,
        folds: bool,
        told: Callable[[Changes], None],
        same: Callable[[], object] = lambda: None,
        renewed: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what opens the store; it is called in the thread."""
        self._open = opens
        self._folds = folds
        self._told = told
        self._same = same
        self._renewed = renewed
        self._on_turn = on_turn
        self._wake = threading.Event()
        self._stopped = False
        self._turns = 0
        self._changes: Changes | None = None
        self._told_at = float("-inf")
        self._heads: dict[int, int] = {}
        self._seen: object = None
        self.failure = "not opened yet"
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._seen = self._same()
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for the end of the turn."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def turn_after_next(self) -> int:
        """Return the turn after which what is in the logs now is in the read models.

        Where a projector folds it is not waited for.
        """
        return self._turns + 2  # the present one may have looked before

    def is_past(self, turn: int) -> bool:
        """Say whether a turn is over, or there is nothing to wait for; if not, hasten it."""
        if not self._folds or self._stopped or self.failure or self._turns >= turn:
            return True
        self._wake.set()
        return False

    def _run(self) -> None:
        while not self._stopped:
            try:
                with ExitStack() as stack:
                    self._follow(stack.enter_context(self._open()))
            except _Ended:
                return
            except (WarrenerError, OSError) as error:
                self._failed(error)
            except Exception as error:  # a fault of ours must not leave pages without news for ever
                logger.exception("web.follower_fault")
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self.failure != str(error):
            logger.error("web.store_failed", reason=str(error))
        self.failure = str(error) or type(error).__name__
        self._on_turn()
        self._wait(AGAIN_SECONDS)

    def _follow(self, opened: Opened) -> None:
        self._heads = {}
        while not self._stopped:
            if self._is_replaced():
                return
            self._turn(opened)
            if self.failure:
                logger.info("web.store_open")
                self.failure = ""
            self._turns += 1
            self._on_turn()
            self._wait(POLL_SECONDS)

    def _is_replaced(self) -> bool:
        """Say whether the store is another one than before, and have all begin anew if it is."""
        before, self._seen = self._seen, self._same()
        if before is None or before == self._seen:
            return False
        logger.warning("web.store_replaced")
        self._renewed()
        if self._changes is not None:
            self._changes.lost = True  # whatever is where in the new one
        return True

    def _turn(self, opened: Opened) -> None:
        if self._folds:
            self._fold(opened)
        if self._changes is None:
            positions = {
                partition: folded_to(opened.views, partition)
                for partition in range(opened.logs.count)
            }
            self._tell(Changes(dict(positions), positions))
        changes = self._changes
        assert changes is not None
        for partition, log in enumerate(each_log(opened.logs)):
            look(changes, log, opened.views, partition)
        if not changes.is_empty and time.monotonic() >= self._told_at + TELL_SECONDS:
            self._tell(changes)

    def _fold(self, opened: Opened) -> None:
        """Bring the read models up to the logs that have grown."""
        for partition, log in enumerate(each_log(opened.logs)):
            head = log.head()
            if self._heads.get(partition) == head:
                continue
            try:
                catch_up(log, opened.views, self._goes_on)
            except (Conflict, StoredDataError) as error:
                logger.warning("web.not_folded", reason=str(error))
            else:
                self._heads[partition] = head

    def _goes_on(self, _position: int, _head: int) -> None:
        """Give a sign of life while much is folded, and end where that is wanted."""
        self._on_turn()
        if self._stopped:
            raise _Ended

    def _tell(self, changes: Changes) -> None:
        self._told_at = time.monotonic()
        after = dict(changes.after)
        self._changes = Changes(dict(after), after)
        self._told(changes)

    def _wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()
