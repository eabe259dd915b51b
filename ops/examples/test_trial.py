"""How to test a job of one's own: `python -m pytest ops/examples/test_trial.py`."""

from warrener.testing import LocalRun


def test_whoever_does_not_decide_in_14_days_is_reminded() -> None:
    """Wait for 14 days, which takes milliseconds."""
    mails: list[str] = []
    endpoints = {"mail.welcome": lambda: None, "mail.remind": lambda: mails.append("remind")}
    run = LocalRun("ops/examples/trial.yaml", endpoints)

    run.start()
    run.advance("14d")

    assert mails == ["remind"]
    assert run.step("decision").error.code == "wait-expired"
