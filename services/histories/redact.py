"""Takes secrets out of events. What they say of the course of a job stays as it is.

A field of an event that may hold what users wrote has a handler here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from warrener.domain.definition.params import digest
from warrener.domain.events import DefinitionStored, Error, Event, GivenStep, JobSubmitted, Recorded
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.ids import content_hash
from warrener.domain.payloads import Payload, encode_json
from warrener.domain.step_events import Held, StepReleased
from warrener.services.histories import definitions
from warrener.services.histories.rules import Rules
from warrener.services.histories.values import Seen, Values

TOKENS: Final = "tokens of attempts"
TOKEN_DIGITS: Final = 32
BLOBS_KEPT_MAX: Final = 1_000


class Redactor:
    """Gives events as they may be shown, and the blobs that came to be by it."""

    def __init__(
        self,
        rules: Rules,
        blob: Callable[[str], bytes],
        seen: Seen | None = None,
        *,
        learns: bool = False,
    ) -> None:
        """Take the rules, what gives a blob by its name, and what an earlier pass has `seen`.

        With `learns` this is that pass, and its events are to be thrown away.
        """
        self.seen = seen or Seen()
        self.values = Values(rules, self.seen, learns=learns)
        self.definitions: list[str] = []  # hashes of those that were changed
        self.blobs: dict[str, bytes] = {}  # new ones; whoever has written them takes them out
        self._blob = blob
        self._known: dict[tuple[str, str], Payload] = {}
        self._digests: dict[tuple[str, str], str] = {}

    def event(self, recorded: Recorded) -> Recorded:
        """Return an event without secrets; the same one if there are none."""
        event = recorded.event
        changes = {}
        for name in _handled(type(event)):
            value = getattr(event, name)
            found = HANDLERS[name](self, value, name) if value is not None else None
            if found != value:
                changes[name] = found
        changes.update(self._special(recorded, changes))
        return replace(recorded, event=replace(event, **changes)) if changes else recorded

    def payload(self, payload: Payload, field: str) -> Payload:
        """Return a value without secrets; one in a blob gets another blob."""
        take = definitions.schema if field == "form" else None

        def taken(value: Any) -> Any:
            return take(value, self.values) if take else self.values.json(value, (field,))

        if payload.json is not None:
            data = self._taken(payload.json.encode(), taken)
            return payload if data is None else Payload(json=data.decode())
        key = (payload.blob or "", field)
        if key not in self._known:
            if len(self._known) >= BLOBS_KEPT_MAX:
                self._known.clear()
            data = self._taken(self._blob(key[0]), taken)
            self._known[key] = payload if data is None else self._as_blob(data)
        return self._known[key]

    def items(self, items: Any, field: str) -> Any:
        """Return the items of a fan-out without secrets; the states of items have none."""
        return self.payload(items, field) if isinstance(items, Payload) else items

    def text(self, text: str, _: str) -> str:
        """Return a text without secrets."""
        return self.values.text(text)

    def texts(self, named: Mapping[str, Any], _: str) -> dict[str, Any]:
        """Return values by names that users have given."""
        return {self.values.text(name): value for name, value in named.items()}

    def labels(self, labels: Mapping[str, str], _: str) -> dict[str, str]:
        """Return labels without secrets; their names stay."""
        return {key: self.values.keyed(key, text) for key, text in labels.items()}

    def error(self, error: Error, _: str) -> Error:
        """Return an error without secrets."""
        code, message = self.values.text(error.code), self.values.text(error.message)
        traceback = error.traceback and self.values.text(error.traceback)
        return replace(error, code=code, message=message, traceback=traceback)

    def given(self, given: Mapping[str, GivenStep], _: str) -> dict[str, GivenStep]:
        """Return results and errors that steps were given."""
        return {
            name: GivenStep(
                state=step.state,
                result=step.result and self.payload(step.result, "result"),
                error=step.error and self.error(step.error, "error"),
            )
            for name, step in given.items()
        }

    def held(self, limits: tuple[Held, ...], _: str) -> tuple[Held, ...]:
        """Return limits, whose keys are of users."""
        return tuple(Held(limit.name, self.values.text(limit.key)) for limit in limits)

    def settings(self, settings: FlowSettings, _: str) -> FlowSettings:
        """Return settings of the flow, which name fairness keys."""
        return replace(settings, weights=self.texts(settings.weights, ""))

    def _special(self, recorded: Recorded, changes: Mapping[str, Any]) -> dict[str, Any]:
        event = recorded.event
        if isinstance(event, StepReleased):
            return self._token(recorded, event)
        if isinstance(event, DefinitionStored):
            text = definitions.without_secrets(event.json, self.values)
            if text != event.json:
                self.definitions.append(event.hash)
                return {"json": text}
        if isinstance(event, JobSubmitted) and event.params_digest and "params" in changes:
            return {"params_digest": self._digest(event.definition, changes["params"])}
        return {}

    def _token(self, recorded: Recorded, event: StepReleased) -> dict[str, Any]:
        """Return what stands for a token: whoever has one may report for its attempt."""
        place = f"{recorded.originator_id}/{event.attempt}"
        token = content_hash(place.encode())[:TOKEN_DIGITS]
        if token == event.token:
            return {}
        self.values.counts[TOKENS] += 1
        return {"token": token}

    def _digest(self, definition: str, params: Payload) -> str:
        """Return the digest of new parameters: the old one tells whether a guess is right."""
        if params.json is not None:
            return digest(definition, msgspec.json.decode(params.json))
        key = (definition, params.blob or "")
        if key not in self._digests:  # else their blob may be written and forgotten
            self._digests[key] = digest(definition, msgspec.json.decode(self.blobs[key[1]]))
        return self._digests[key]

    def _taken(self, data: bytes, take: Callable[[Any], Any]) -> bytes | None:
        """Return a JSON text without secrets, None if it has none.

        Of a key that is there twice only the last counts; the first must not stay behind.
        """
        before = self.values.counts.total()
        value = msgspec.json.decode(data)
        found = take(value)
        if self.values.counts.total() == before:
            plain = encode_json(value)
            return plain if data != plain and _repeats_a_key(data) else None
        return encode_json(found)

    def _as_blob(self, data: bytes) -> Payload:
        name = content_hash(data)
        self.blobs[name] = data
        return Payload(blob=name, size=len(data))


Handler = Callable[[Redactor, Any, str], Any]
_TEXTS: Final = [
    "action",
    "by",
    "cause",
    "fair",
    "key",
    "message",
    "note",
    "reason",
    "subject",
    "why",
]
HANDLERS: Final[Mapping[str, Handler]] = {
    **dict.fromkeys(_TEXTS, Redactor.text),
    **dict.fromkeys(["answer", "args", "data", "form", "params", "result"], Redactor.payload),
    "error": Redactor.error,
    "given": Redactor.given,
    "heard": Redactor.texts,
    "items": Redactor.items,
    "labels": Redactor.labels,
    "limits": Redactor.held,
    "settings": Redactor.settings,
}


def _repeats_a_key(data: bytes) -> bool:
    repeated = False

    def pairs(found: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated |= len(dict(found)) < len(found)

    json.loads(data, object_pairs_hook=pairs)
    return repeated


@lru_cache(200)
def _handled(kind: type[Event]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name in HANDLERS)
