"""A job of a shop with all that jobs have, recorded once well and once badly, to be dry-run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import PermanentError, RetryLater, UserActionRequired
from warrener.services.dry_run.run import DryRun
from warrener.services.dry_run.shapes import JobReport
from warrener.services.logs import LogSet
from warrener.services.perform import current_step
from warrener.services.submission import Source
from warrener.testing import LocalRun

Change = Callable[[dict[str, Any], dict[str, Any]], None]  # of the definitions of order and packing

FORM = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "by": {"type": "string"}},
    "required": ["ok"],
}
PACKING: dict[str, Any] = {
    "job": "packing",
    "params": {"type": "object", "properties": {"weight": {"type": "integer"}}},
    "steps": {
        "box": {"call": "pack.box", "with": {"weight": "${{ params.weight }}"}},
        "label": {"set": {"text": "${{ 'box ' + steps.box.result.id }}"}},
    },
    "result": "${{ steps.label.result.text }}",
}
ORDER: dict[str, Any] = {
    "job": "order",
    "params": {
        "type": "object",
        "required": ["account", "amount"],
        "properties": {
            "account": {"type": "string"},
            "amount": {"type": "integer"},
            "items": {"type": "array"},
            "gift": {"type": "boolean", "default": False},
        },
    },
    "steps": {
        "load": {
            "call": "shop.load",
            "with": {"account": "${{ params.account }}"},
            "timeout": {"run": 60.0},
        },
        "price": {
            "for_each": "${{ params.items }}",
            "call": "shop.price",
            "with": {"sku": "${{ item }}", "place": "${{ index }}"},
            "tolerate": 1,
            "retry": [],
        },
        "stock": {
            "call": "shop.stock",
            "with": {"prices": "${{ steps.price.results }}"},
            "retry": [{"on": "*", "max": 3, "first": 2.0, "jitter": "none"}],
        },
        "fast": {"call": "carrier.fast", "retry": [], "after": ["stock"]},
        "slow": {"call": "carrier.slow", "after": ["stock"]},
        "ship": {
            "call": "shop.ship",
            "with": {"fast": "${{ steps.fast.status }}"},
            "after": ["slow"],
            "join": "any_ok",
        },
        "pack": {"job": "packing", "with": {"weight": "${{ steps.load.result.weight }}"}},
        "risk": {
            "call": "shop.risk",
            "with": {"account": "${{ params.account }}"},
            "when": "${{ params.amount > 100 }}",
        },
        "gift": {"call": "shop.gift", "when": "${{ params.gift }}"},
        "rest": {"sleep": 10.0, "after": ["load"]},
        "approve": {
            "wait": {"for": "approval", "form": FORM, "expire": 86_400.0},
            "needs": {"risk": {"when": "${{ params.amount > 50 }}"}},
        },
        "total": {"set": {"sum": "${{ params.amount + steps.load.result.fee }}"}},
        "charge": {
            "call": "shop.charge",
            "with": {
                "sum": "${{ steps.total.result.sum }}",
                "by": "${{ steps.approve.result.by }}",
            },
            "after": ["ship", "rest"],
            "compensate": "shop.refund",
            "on_user_action": {"expire": 7_200.0, "then": "fail"},
        },
        "mail": {
            "call": "mail.send",
            "with": {"box": "${{ steps.pack.result }}", "paid": "${{ steps.charge.result }}"},
            "catch": [{"on": "no-address", "go": "letter"}],
        },
        "letter": {"call": "mail.letter", "with": {"why": "${{ steps.mail.error.code }}"}},
        "survey": {"call": "mail.survey", "after": ["mail"], "may_fail": True, "retry": []},
        "tidy": {"call": "shop.tidy", "always": True},
    },
    "result": {"paid": "${{ steps.charge.result }}", "box": "${{ steps.pack.result }}"},
}
ORDER["steps"]["fast"]["may_fail"] = True


class Shop:
    """The endpoints of the shop; `bad` says that the last step fails, so that all is undone."""

    def __init__(self, *, bad: bool) -> None:
        self.run: LocalRun | None = None
        self.bad = bad
        self.calls: dict[str, int] = {}

    def first(self, name: str) -> bool:
        self.calls[name] = self.calls.get(name, 0) + 1
        return self.calls[name] == 1

    def take(self, seconds: float) -> None:
        """Let time pass while an endpoint is at work."""
        assert self.run is not None
        virtual = self.run._parts.virtual
        assert virtual is not None
        virtual.set(virtual.now() + timedelta(seconds=seconds))

    def load(self, account: str) -> dict[str, Any]:
        self.take(30)
        return {"weight": 3, "fee": 5, "owner": None, "groups": ["a", "b"]}

    def box(self, weight: int) -> dict[str, Any]:
        self.take(20)
        return {"id": "b-7", "weight": weight}

    def price(self, sku: str, place: int) -> int:
        if sku == "odd":
            raise PermanentError("no-price", "odd things have none")
        return 10 + place

    def stock(self, prices: list[int | None]) -> bool:
        if self.first("stock"):
            raise ValueError("try again")
        return True

    def slow(self) -> str:
        if self.first("slow"):
            raise RetryLater(60, code="throttled")
        return "slow"

    def fast(self) -> str:
        raise PermanentError("no-trip", "none today")

    def charge(self, sum: int, by: str) -> dict[str, Any]:
        if current_step().answer is None:
            raise UserActionRequired("card", cause="card:a-1", message="which card?")
        return {"sum": sum, "card": current_step().answer}

    def mail(self, box: str, paid: dict[str, Any]) -> str:
        if self.bad:
            raise PermanentError("bounced", "it came back")
        raise PermanentError("no-address", "nobody knows where")

    def survey(self) -> None:
        raise PermanentError("nobody", "asked nobody")

    def endpoints(self) -> dict[str, Callable[..., Any]]:
        return {
            "shop.load": self.load,
            "shop.price": self.price,
            "shop.stock": self.stock,
            "carrier.fast": self.fast,
            "carrier.slow": self.slow,
            "shop.ship": lambda fast: "sent",
            "pack.box": self.box,
            "shop.risk": lambda account: 0.2,
            "shop.gift": lambda: "ribbon",
            "shop.charge": self.charge,
            "shop.refund": lambda input, result: None,
            "mail.send": self.mail,
            "mail.letter": lambda why: "posted",
            "mail.survey": self.survey,
            "shop.tidy": lambda: None,
        }


def source(change: Change | None = None) -> Source:
    """Return the two definitions, changed."""
    order, packing = copy.deepcopy(ORDER), copy.deepcopy(PACKING)
    if change is not None:
        change(order, packing)
    main, library = (msgspec.convert(each, JobDefinition) for each in (order, packing))
    return Source(main, {library.name: library})


@lru_cache(maxsize=2)
def recorded(*, bad: bool = False) -> LocalRun:
    """Return a run that has ended: well, or badly so that all is undone."""
    shop, definitions = Shop(bad=bad), source()
    run = shop.run = LocalRun(definitions.main, shop.endpoints())
    run._source = definitions
    run.start({"account": "a-1", "amount": 120, "items": ["red", "odd", "blue"]})
    run.advance("1h")
    run.answer({"ok": True, "by": "ann"}, "approval")
    run.advance("1h")
    run.answer("visa", "card")
    return run


def dry_run(run: LocalRun, definitions: Source, findings_max: int = 100) -> JobReport:
    """Return what a dry run of these definitions finds about a run."""
    assert run.job is not None
    logs = LogSet([run._parts.store])
    return DryRun(definitions, findings_max).job(run._parts.queries(), logs, run.job)
