"""The social report as a Python function; `social-report.yaml` says the same as data.

It runs, and can be drawn, just as the file can:

    warrener run ops/examples/social_report.py:social_report --param account=ada
    warrener graph ops/examples/social_report.py:social_report
"""

from __future__ import annotations

from typing import Any

from social_networks import apologise, facebook, load, merge, publish
from social_networks import twitter as tweets_of

from warrener import each, job, need


@job("social-report", version=3)
def social_report(account: str, twitter: str | None = None) -> Any:
    """Report what networks know about an account and the groups below it. Traced, never run."""
    loaded = load(account)
    posts = facebook(loaded.facebook)
    tweets = tweets_of(twitter)
    parts = each(
        loaded.groups,
        lambda group: social_report(group.account, None),
        window=200,
        tolerate="34%",
    ).named("groups")
    report = merge(account, posts, need(tweets, when=twitter != None), parts)  # noqa: E711
    publish(report).when(report.changed)
    apologise(account).after(posts).join("any_failed")
    return report
