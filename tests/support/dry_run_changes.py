"""Changes of the shop's definitions: those that break recorded runs, and those that do not."""

from __future__ import annotations

from typing import Any

from support.dry_runs import FORM, Change

Definition = dict[str, Any]
_LATER = {"on": "*", "max": 9}


def _set(*path: str, value: Any) -> Change:
    """Return the change that puts a value into the definition of the order."""

    def change(order: Definition, _: Definition) -> None:
        *above, last = path
        for name in above:
            order = order.setdefault(name, {})
        order[last] = value

    return change


def _step(name: str, **fields: Any) -> Change:
    """Return the change of some fields of a step; None takes one away."""

    def change(order: Definition, _: Definition) -> None:
        step = order["steps"].setdefault(name, {})
        for field, value in fields.items():
            if value is None:
                step.pop(field, None)
            else:
                step[field] = value

    return change


def _without(*names: str) -> Change:
    def change(order: Definition, _: Definition) -> None:
        for name in names:
            del order["steps"][name]

    return change


def _rename(old: str, new: str) -> Change:
    """Return the change of a step's name, wherever it is read."""
    import json

    def change(order: Definition, _: Definition) -> None:
        order["steps"][new] = order["steps"].pop(old)
        text = json.dumps(order).replace(f"steps.{old}.", f"steps.{new}.")
        text = text.replace(f'"after": ["{old}"]', f'"after": ["{new}"]')
        order.clear()
        order.update(json.loads(text))

    return change


def _packing(*path: str, value: Any) -> Change:
    put = _set(*path, value=value)
    return lambda _, packing: put(packing, {})


def _renamed_signal(order: Definition, _: Definition) -> None:
    order["steps"]["approve"]["wait"]["for"] = "agreement"


def _all_ok(order: Definition, _: Definition) -> None:
    del order["steps"]["fast"]["may_fail"]
    order["steps"]["ship"] |= {"join": "all_ok", "after": ["slow", "fast"]}


def _reordered(order: Definition, _: Definition) -> None:
    order["steps"] = dict(reversed(list(order["steps"].items())))
    order["params"]["properties"] = dict(reversed(list(order["params"]["properties"].items())))


def _stricter_form(order: Definition, _: Definition) -> None:
    order["steps"]["approve"]["wait"]["form"]["required"].append("reason")


PROPERTIES = ("params", "properties")

# What was changed -> the change, whether the bad run is taken, the kinds at paths that are found.
BREAKING: dict[str, tuple[Change, bool, dict[str, str]]] = {
    "a parameter is required now": (
        _set("params", "required", value=["account", "amount", "currency"]),
        False,
        {"": "params-refused"},
    ),
    "a parameter has a smaller maximum": (
        _set(*PROPERTIES, "amount", value={"type": "integer", "maximum": 100}),
        False,
        {"": "params-refused"},
    ),
    "a step that ran is gone": (_without("survey"), False, {"survey": "step-missing"}),
    "a step has another name": (
        _rename("stock", "shelf"),
        False,
        {"stock": "step-missing", "shelf": "step-new"},
    ),
    "a step is new": (
        _step("audit", call="shop.audit", after=["charge"]),
        False,
        {"audit": "step-new"},
    ),
    "an argument is computed otherwise": (
        _step("charge", **{"with": {"sum": "${{ params.amount }}", "by": "ann"}}),
        False,
        {"charge": "input-differs"},
    ),
    "what arguments are computed from is computed otherwise": (
        _step("total", set={"sum": "${{ params.amount * 2 }}"}),
        False,
        {"charge": "input-differs"},
    ),
    "a step calls another endpoint": (
        _step("risk", call="shop.risk2"),
        False,
        {"risk": "endpoint-differs"},
    ),
    "a field is read that the recorded result lacks": (
        _step("pack", **{"with": {"weight": "${{ steps.load.result.kilos }}"}}),
        False,
        {"pack": "result-does-not-fit", "": "job-state-differs"},
    ),
    "a field of null is read": (
        _step("total", set={"sum": "${{ steps.load.result.owner.name }}"}),
        False,
        {"total": "result-does-not-fit", "": "job-state-differs"},
    ),
    "it goes over what is no list": (
        _step("price", for_each="${{ steps.load.result.fee }}"),
        False,
        {"price": "result-does-not-fit", "": "job-state-differs"},
    ),
    "a step runs only for more": (
        _step("risk", when="${{ params.amount > 1000 }}"),
        False,
        {"risk": "not-run", "": "job-state-differs"},
    ),
    "a step runs that was skipped": (
        _step("gift", when="${{ !params.gift }}"),
        False,
        {"gift": "would-run"},
    ),
    "an edge is required no longer": (
        _step("approve", needs={"risk": {"when": "${{ params.amount > 500 }}"}}),
        False,
        {"risk": "not-run"},
    ),
    "failures are not tried again": (
        _step("stock", retry=[]),
        False,
        {"stock": "outcome-differs", "": "job-state-differs"},
    ),
    "an attempt may take less than it took": (
        _step("load", timeout={"run": 10.0}, retry=[]),
        False,
        {"load": "timeout", "": "job-state-differs"},
    ),
    "a step may take less in all than it took": (
        _step("slow", timeout={"total": 20.0}),
        False,
        {"slow": "timeout", "": "job-state-differs"},
    ),
    "a sub-job may take less than it took": (
        _step("pack", timeout={"total": 15.0}),
        False,
        {"pack": "timeout"},
    ),
    "it goes over fewer items": (
        _step("price", for_each="${{ params.items.filter(i, i != 'odd') }}"),
        False,
        {"price": "fan-out-differs"},
    ),
    "it goes over the items in another order": (
        _step("price", for_each="${{ [params.items[2], params.items[1], params.items[0]] }}"),
        False,
        {"price": "fan-out-differs"},
    ),
    "items get other arguments": (
        _step("price", **{"with": {"sku": "${{ item }}", "place": "${{ index + 1 }}"}}),
        False,
        {"price[0]": "input-differs"},
    ),
    "no item may fail": (
        _step("price", tolerate=0),
        False,
        {"price": "outcome-differs", "": "job-state-differs"},
    ),
    "a sub-job gets other parameters": (
        _step("pack", **{"with": {"weight": "${{ steps.load.result.weight + 1 }}"}}),
        False,
        {"pack": "child-differs"},
    ),
    "a sub-job refuses its parameters": (
        _packing(*PROPERTIES, "weight", value={"type": "integer", "maximum": 2}),
        False,
        {"pack": "params-refused", "": "job-state-differs"},
    ),
    "a step of a sub-job gets other arguments": (
        _packing("steps", "box", "with", "weight", value="${{ params.weight * 10 }}"),
        False,
        {"pack/box": "input-differs"},
    ),
    "a sub-job gives another result": (
        _packing("result", value="${{ steps.label.result }}"),
        False,
        {"pack": "job-result-differs"},
    ),
    "the job gives another result": (
        _set("result", "paid", value="${{ steps.charge.result.sum }}"),
        False,
        {"": "job-result-differs"},
    ),
    "a failure is allowed no longer": (
        _step("survey", may_fail=None),
        False,
        {"": "job-state-differs"},
    ),
    "a failure is caught no longer": (
        _step("mail", catch=None),
        False,
        {"letter": "not-run", "": "job-state-differs"},
    ),
    "the job has less time than it took": (
        _set("deadline", value=600.0),
        False,
        {"": "deadline"},
    ),
    "the tree may have fewer steps than it had": (
        _set("budget", value={"depth": 16, "steps": 20}),
        False,
        {"price": "budget", "": "job-state-differs"},
    ),
    "people have less time than they took": (
        _step("approve", wait={"for": "approval", "form": FORM, "expire": 600.0}),
        False,
        {"approve": "timeout", "": "job-state-differs"},
    ),
    "a user action has less time than it took": (
        _step("charge", on_user_action={"expire": 60.0, "then": "fail"}),
        False,
        {"charge": "timeout", "": "job-state-differs"},
    ),
    "another signal is waited for, with what nobody sent": (
        _stricter_form,
        False,
        {"approve": "command-refused"},
    ),
    "a join waits for all": (_all_ok, False, {"ship": "not-run", "": "job-state-differs"}),
    "what succeeded is not undone": (
        _step("charge", compensate=None),
        True,
        {"charge.compensate": "step-missing"},
    ),
    "another endpoint undoes it": (
        _step("charge", compensate="shop.repay"),
        True,
        {"charge.compensate": "endpoint-differs"},
    ),
    "a failure is caught now": (
        _step("mail", catch=[{"on": "bounced", "go": "letter"}]),
        True,
        {"letter": "would-run"},
    ),
}

HARMLESS: dict[str, tuple[Change, bool]] = {
    "another version": (_set("version", value=7), False),
    "another queue": (_step("charge", queue="money"), False),
    "limits": (
        _step("charge", limits=[{"name": "bank", "key": "${{ params.account }}", "slots": 1}]),
        False,
    ),
    "attempts after a failure that was final": (_step("survey", retry=[_LATER]), False),
    "a longer timeout": (_step("load", timeout={"run": 600.0, "total": 3_600.0}), False),
    "a timeout that nothing reached": (_step("risk", timeout={"run": 5.0, "queue": 90.0}), False),
    "more attempts that nothing needed": (
        _step("stock", retry=[{"on": "*", "max": 9, "first": 5.0}]),
        False,
    ),
    "steps and keys in another order": (_reordered, False),
    "a new parameter that nobody reads": (
        _set(*PROPERTIES, "note", value={"type": "string", "default": ""}),
        False,
    ),
    "a window": (_step("price", window=1), False),
    "more failures tolerated": (_step("price", tolerate="50%"), False),
    "another name of what is only computed": (_rename("total", "sum"), False),
    "a step wanted that is needed anyway": (_step("stock", eager=True), False),
    "a condition in other words": (_step("risk", when="${{ !(params.amount <= 100) }}"), False),
    "an argument in other words": (
        _step("pack", **{"with": {"weight": "${{ 2 * steps.load.result.weight - 3 }}"}}),
        False,
    ),
    "an order between steps that was so": (_step("mail", after=["approve"]), False),
    "an order between steps that was not so": (_step("risk", after=["slow"]), False),
    "longer patience": (
        _step("charge", on_user_action={"expire": 90_000.0, "then": "skip"}),
        False,
    ),
    "a larger budget": (_set("budget", value={"depth": 3, "steps": 5_000}), False),
    "answers to failures that did not happen": (
        lambda order, _: order["steps"].update(
            sorry={"call": "mail.sorry"},
            risk={**order["steps"]["risk"], "catch": [{"on": "*", "go": "sorry"}]},
        ),
        False,
    ),
    "undoing, where nothing is undone": (_step("ship", compensate="shop.call_back"), False),
    "a deadline that was met": (_set("deadline", value=90_000.0), False),
    "a new computed value that nobody reads": (
        _step("extra", set={"double": "${{ params.amount * 2 }}"}),
        False,
    ),
    "without a step that did not run": (_without("gift"), False),
    "a new step that is skipped": (
        _step("vip", call="shop.vip", when="${{ params.amount > 9000 }}"),
        False,
    ),
    "a longer sleep": (_step("rest", sleep=3_600.0), False),
    "an optional parameter of a sub-job": (
        _packing(*PROPERTIES, "colour", value={"type": "string", "default": "brown"}),
        False,
    ),
    "another computed value in a sub-job": (
        _packing("steps", "hint", value={"set": {"heavy": "${{ params.weight > 9 }}"}}),
        False,
    ),
    "a failure allowed of what succeeded": (_step("risk", may_fail=True), False),
    "stopping at the first failure, where nothing came after it": (
        _set("on_failure", value="stop"),
        True,
    ),
    "nothing, of a run that failed": (_set("version", value=2), True),
    "an order between steps, of a run that failed": (_step("risk", after=["pack"]), True),
}
