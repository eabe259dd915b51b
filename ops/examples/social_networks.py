"""Endpoints of the social report, on networks that are simulated: no account, no internet.

What goes wrong here goes wrong every time in the same way, by the name of the account and the
number of the attempt. Facebook throttles every first call; Twitter breaks off every first one. The
account `mallory` was closed for good, and the page of `grace` cannot be read by anybody.
"""

from __future__ import annotations

from typing import Any

import msgspec

from warrener import PermanentError, Retry, RetryLater, current_step, endpoint

# Every account with the groups that belong to it. Groups are accounts, too.
GROUPS = {
    "ada": ["engineers", "poets", "mallory"],
    "engineers": ["compilers", "bridges"],
    "poets": [],
    "compilers": [],
    "bridges": [],
    "grace": [],
}

RETRY = [
    Retry(on="throttled", wait="retry-after"),
    Retry(on="worker-lost", max=5),
    Retry(max=4, first="100ms", cap="5s"),
]


class Report(msgspec.Struct):
    """What a network knows about an account and all groups below it."""

    account: str
    posts: int
    tweets: int
    groups: int
    missing: int  # groups that could not be read
    changed: bool


@endpoint("crm.load_account")
def load(account: str) -> dict[str, Any]:
    """Return the account's page and its groups."""
    if account not in GROUPS:
        raise PermanentError("account-closed", f"there is no account {account} any more")
    groups = [{"account": name} for name in GROUPS[account]]
    return {"account": account, "facebook": f"pages/{account}", "groups": groups}


@endpoint("facebook.posts", retry=RETRY)
def facebook(page: str) -> list[str]:
    """Return the posts of a page."""
    if current_step().attempt == 1:
        raise RetryLater(after=0.05, code="throttled")
    if page == "pages/grace":
        raise PermanentError("page-private", f"{page} shows nothing to anybody")
    return [f"post {number} of {page}" for number in range(len(page))]


@endpoint("twitter.tweets", retry=RETRY)
def twitter(handle: str) -> list[str]:
    """Return what an account has tweeted."""
    if current_step().attempt == 1:
        raise ConnectionError("twitter hung up")
    return [f"{handle}: hello", f"{handle}: good-bye"]


@endpoint("report.merge")
def merge(
    account: str, posts: list[str], tweets: list[str] | None, parts: list[Report | None]
) -> Report:
    """Sum up an account; `tweets` is null without Twitter, a part where its group failed."""
    known = [part for part in parts if part is not None]
    return Report(
        account=account,
        posts=len(posts) + sum(part.posts for part in known),
        tweets=len(tweets or ()) + sum(part.tweets for part in known),
        groups=len(known) + sum(part.groups for part in known),
        missing=len(parts) - len(known) + sum(part.missing for part in known),
        changed=bool(tweets) or any(part.groups for part in known),
    )


@endpoint("report.publish")
def publish(report: Report) -> str:
    """Publish a report; return where it can be read."""
    return f"https://reports.invalid/{report.account}"


@endpoint("mail.apologise")
def apologise(account: str) -> str:
    """Tell the owner of an account that there will be no report."""
    return f"told {account} that there is no report today"
