"""An order that a person approves, and its endpoints; `approval.yaml` says the same as data.

    warrener check ops/examples/approval.py:approval
    warrener graph ops/examples/approval.py:approval

The shop is simulated: the card of the account `broke` is declined, and that of `expired` has
expired, so that its owner is asked for another one.
"""

from __future__ import annotations

from typing import Any

from warrener import (
    Limit,
    PermanentError,
    Timeout,
    UserActionRequired,
    UserActionRule,
    current_step,
    endpoint,
    job,
    sleep,
    wait_for,
)

APPROVAL = {
    "type": "object",
    "required": ["approved"],
    "properties": {"approved": {"type": "boolean"}, "note": {"type": "string"}},
}
CARD = {"type": "object", "required": ["card"], "properties": {"card": {"type": "string"}}}


@endpoint("shop.release")
def release(input: dict[str, Any], result: str) -> None:  # noqa: A002 - both names are given
    """Undo a reservation: `result` is what it returned for `input`."""


@endpoint("shop.refund")
def refund(input: dict[str, Any], result: str) -> None:  # noqa: A002
    """Undo a charge."""


@endpoint("shop.reserve", compensate=release)
def reserve(item: str) -> str:
    """Put an item aside."""
    return f"reservation of {item}"


@endpoint(
    "shop.charge",
    timeout=Timeout(queue="10m", run="60s", beat="20s", total="6h"),
    limits=[
        Limit("bank", rate="20/min", burst=5),
        Limit("per-account", key="account", slots=1),
    ],
    on_user_action=UserActionRule(expire="14d", remind="24h", then="retry"),
    compensate=refund,
)
def charge(account: str, price: float) -> str:
    """Take the price from the account's card."""
    if account == "broke":
        raise PermanentError("card-declined", f"the bank pays nothing for {account}")
    if account == "expired" and current_step().attempt == 1:
        raise UserActionRequired(
            "renew-card", cause=f"card:{account}", message="Give us another card", form=CARD
        )
    return f"receipt over {price} for {account}"


@endpoint("shop.invoice", timeout="30s")
def invoice(account: str, reason: str) -> str:
    """Send an invoice instead of charging a card."""
    return f"invoice to {account}: {reason}"


@endpoint("shop.ship")
def ship(item: str, receipt: str) -> str:
    """Ship the item."""
    return f"{item} is on its way: {receipt}"


@endpoint("shop.tidy")
def tidy(item: str, shipping: str) -> str:
    """Put the item back where it was, unless it is on its way."""
    return f"{item} is gone" if shipping == "succeeded" else f"{item} is back"


@job("approval", deadline="60d")
def approval(item: str, price: float, account: str, cooling: str = "14d") -> Any:
    """Reserve, ask, charge, wait for second thoughts, ship. Traced, never run."""
    reserved = reserve(item)
    answer = wait_for("approval", form=APPROVAL, expire="3d").after(reserved)
    charged = charge(account, price).when(answer.approved)
    charged.catch("card-declined", go=invoice(account, charged.error.message))
    cooled = sleep(cooling).named("cool_off").after(charged)
    shipped = ship(item, charged).after(cooled)
    tidy(item, shipped.status).always()
    return shipped
