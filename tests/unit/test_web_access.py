"""Who may do what over HTTP: every route times every role, sessions, and pages of other sites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar.routes import HTTPRoute
from support.web import API, LOOPBACK, Fleet, Served, problem, served, settings_of

from warrener.domain.errors import StoreUnavailable, UsageError
from warrener.domain.tokens import ROLES, AccessToken
from warrener.services import tokens as making
from warrener.services import wiring_web
from warrener.services.web.app import inner

PUBLIC = {
    ("GET", f"{API}/session"),
    ("POST", f"{API}/session"),
    ("GET", "/"),
    ("GET", "/static/{path:path}"),
    ("GET", "/schema"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
}
OF_SUBMITTERS = {("POST", f"{API}/jobs"), ("POST", f"{API}/definitions/check")}
OF_VIEWERS = {("DELETE", f"{API}/session")}
NOBODYS = "/schema/own"  # made by the framework, and served to nobody
VALUES = {"uuid": str(UUID(int=1)), "str": "x", "path": "x.js"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Served]:
    with served(settings_of(folder), fleet=Fleet()) as found:
        for role in ROLES:
            found.token(f"the-{role}", role)
        yield found


@pytest.fixture(scope="module")
def bearers(web: Served) -> dict[str, dict[str, str]]:
    return {role: web.bearer(f"a-{role}", role) for role in ROLES}


def routes(web: Served) -> list[tuple[str, str]]:
    """Return method and path of everything that the application answers."""
    return [
        (method, route.path)
        for route in inner(web.parts).routes
        if isinstance(route, HTTPRoute)
        for method in sorted(route.methods)
        if method != "OPTIONS" and not route.path.startswith(NOBODYS)
    ]


def needed(method: str, path: str) -> str | None:
    """Return the least role that may do it by the rules, None for everybody."""
    if (method, path) in PUBLIC:
        return None
    if (method, path) in OF_SUBMITTERS:
        return "submitter"
    return "viewer" if method == "GET" or (method, path) in OF_VIEWERS else "operator"


def call(web: Served, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    url = re.sub(r"{\w+:(\w+)}", lambda found: VALUES[found[1]], path)
    body = None if method in ("GET", "DELETE") else {}
    with web.client.stream(method, url, json=body, headers=headers) as answer:
        web.client.cookies.clear()
        return answer


def test_what_is_not_allowed_is_refused_on_every_route(
    web: Served, bearers: dict[str, dict[str, str]]
) -> None:
    found = routes(web)
    wrong = []
    for method, path in found:
        least = needed(method, path)
        if call(web, method, path, {}).status_code != 401 and least is not None:
            wrong.append(("nobody", method, path))
        for role in ROLES:
            status = call(web, method, path, bearers[role]).status_code
            may = least is None or ROLES.index(role) >= ROLES.index(least)  # type: ignore[arg-type]
            if may == (status == 403) or (least is not None and status == 401):
                wrong.append((role, method, path))

    assert wrong == []
    assert len(found) > 35


def test_every_route_has_a_rule_and_it_is_the_right_one(web: Served) -> None:
    handlers = {
        (method, route.path): handler.opt.get("role")
        for route in inner(web.parts).routes
        if isinstance(route, HTTPRoute) and not route.path.startswith(NOBODYS)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method != "OPTIONS"
    }

    assert handlers == {place: needed(*place) or "public" for place in handlers}


def test_what_has_no_rule_is_refused_whoever_asks(
    web: Served, bearers: dict[str, dict[str, str]]
) -> None:
    answer = web.client.get(f"{NOBODYS}/openapi.json", headers=bearers["operator"])

    assert "no rule" in problem(answer, 403)["detail"]


# --- tokens --------------------------------------------------------------------------------------


def test_a_request_without_a_token_is_told_how_to_get_in(web: Served) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        answer = web.client.get(f"{API}/jobs", headers=headers)

        assert "warrener web token add" in problem(answer, 401)["hint"]
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_that_expired_or_was_removed_lets_nobody_in(web: Served) -> None:
    gone, soon = web.token("gone", "viewer"), web.token("soon", "viewer")
    headers = {name: {"Authorization": f"Bearer {name}"} for name in (gone, soon)}
    kept = next(each for each in web.parts.tokens.all() if each.name == "soon")
    assert web.client.get(f"{API}/jobs", headers=headers[soon]).status_code == 200
    assert web.client.get(f"{API}/jobs", headers=headers[gone]).status_code == 200

    web.parts.tokens.remove("gone")
    web.parts.tokens.remove("soon")
    past = datetime.now(UTC) - timedelta(seconds=1)
    web.parts.tokens.add(msgspec.structs.replace(kept, expires_at=past))

    assert web.client.get(f"{API}/jobs", headers=headers[gone]).status_code == 401
    assert web.client.get(f"{API}/jobs", headers=headers[soon]).status_code == 401


def test_a_token_is_kept_as_a_digest_and_nowhere_else(web: Served, folder: Path) -> None:
    text = web.token("written", "viewer")

    kept = b"".join(file.read_bytes() for file in folder.iterdir())

    assert len(text) >= 46
    assert making.digest_of(text).encode() in kept
    assert text.encode() not in kept


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "-a", "é", "a\n"])
def test_odd_names_of_tokens_are_refused(web: Served, name: str) -> None:
    with pytest.raises(UsageError):
        web.token(name, "viewer")


def test_names_are_taken_once_and_roles_are_known(web: Served) -> None:
    web.token("once", "viewer")

    with pytest.raises(UsageError, match="already"):
        web.token("once", "operator")
    with pytest.raises(UsageError, match="viewer, submitter, operator"):
        web.token("other", "admin")


# --- sessions ------------------------------------------------------------------------------------


def logged_in(web: Served, role: str = "operator") -> tuple[httpx.Client, dict[str, Any], str]:
    """Return a browser with a session, what it was told, and the name of its token."""
    name = f"s{len(web.parts.tokens.all())}"
    browser = httpx.Client(base_url=web.url, timeout=20.0)
    answer = browser.post(f"{API}/session", json={"token": web.token(name, role)})
    assert answer.status_code == 200, answer.text
    return browser, answer.json(), name


def test_a_session_is_begun_with_a_token_and_ended(web: Served) -> None:
    browser, told, name = logged_in(web)

    assert (told["name"], told["role"], told["login"]) == (name, "operator", True)
    assert browser.get(f"{API}/session").json() == told
    headers = {"X-Warrener-CSRF": told["csrf"]}
    assert browser.delete(f"{API}/session").status_code == 403
    assert browser.delete(f"{API}/session", headers=headers).status_code == 204
    problem(browser.get(f"{API}/session"), 401)


def test_the_cookie_is_kept_from_scripts_and_other_sites(web: Served) -> None:
    text = web.token("cookie", "viewer")

    answer = web.client.post(f"{API}/session", json={"token": text})
    web.client.cookies.clear()

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert "secure" not in cookie
    assert text.lower() not in cookie


def test_over_tls_the_cookie_is_for_tls_only(web: Served) -> None:
    text = web.token("tls", "viewer")

    headers = {"X-Forwarded-Proto": "https", "Host": "127.0.0.1"}  # as a proxy here would say
    answer = web.client.post(f"{API}/session", json={"token": text}, headers=headers)
    web.client.cookies.clear()

    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_wrong_token_begins_no_session(web: Served) -> None:
    answer = web.client.post(f"{API}/session", json={"token": "wr_wrong"})

    problem(answer, 401)
    assert "set-cookie" not in answer.headers


def test_removing_a_token_ends_its_sessions_at_the_next_request(web: Served) -> None:
    browser, _, name = logged_in(web)
    assert browser.get(f"{API}/jobs").status_code == 200

    web.parts.tokens.remove(name)

    problem(browser.get(f"{API}/jobs"), 401)


def test_a_forged_or_old_session_is_none(web: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, _, _ = logged_in(web)
    cookie = browser.cookies["warrener_session"]
    other = "a" if cookie[-9] != "a" else "b"  # in the midst: bits of the last one may not count
    forged = (f"{cookie[:-9]}{other}{cookie[-8:]}", "", "x.y.z", "é", "a" * 3_000)

    for value in forged:
        headers = {"Cookie": f"warrener_session={value}".encode()}
        assert httpx.get(f"{web.url}{API}/jobs", headers=headers).status_code == 401  # type: ignore[arg-type]
    monkeypatch.setattr("warrener.services.web.access.SESSION_SECONDS", -1)
    assert browser.get(f"{API}/jobs").status_code == 401


def test_a_role_of_a_session_is_that_of_its_token(web: Served) -> None:
    browser, told, _ = logged_in(web, "viewer")
    headers = {"X-Warrener-CSRF": told["csrf"]}

    problem(browser.patch(f"{API}/flow", json={"mode": "off"}, headers=headers), 403)


# --- other sites ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Warrener-CSRF": ""},
        {"X-Warrener-CSRF": "0" * 64},
        {"X-Warrener-CSRF": "\xff"},
    ],
)
def test_a_session_changes_nothing_for_a_page_of_another_site(
    web: Served, headers: dict[str, str]
) -> None:
    browser, told, _ = logged_in(web)
    sent = {"X-Warrener-CSRF": told["csrf"], **headers}
    good = {"X-Warrener-CSRF": told["csrf"], "Origin": web.url, "Sec-Fetch-Site": "same-origin"}
    body = {"mode": "observe"}

    raw = {name: value.encode("latin-1") for name, value in sent.items()}
    refused = browser.patch(f"{API}/flow", json=body, headers=raw)  # type: ignore[arg-type]

    problem(refused, 403)
    assert browser.patch(f"{API}/flow", json=body, headers=good).status_code == 200


def test_a_session_of_one_is_not_opened_with_the_csrf_of_another(web: Served) -> None:
    browser, _, _ = logged_in(web)
    _, told, _ = logged_in(web)

    answer = browser.patch(
        f"{API}/flow", json={"mode": "off"}, headers={"X-Warrener-CSRF": told["csrf"]}
    )

    problem(answer, 403)


def test_no_page_of_another_site_may_begin_a_session(web: Served) -> None:
    body = {"token": web.token("login-csrf", "viewer")}

    answer = web.client.post(f"{API}/session", json=body, headers={"Origin": "http://evil"})

    problem(answer, 403)


# --- without tokens ------------------------------------------------------------------------------


def test_without_tokens_everybody_on_this_machine_is_an_operator(tmp_path: Path) -> None:
    with served(settings_of(tmp_path), fleet=Fleet()) as web:
        told = web.get("/session")
        changed = web.send("PATCH", "/flow", {"mode": "observe"})
        plain = web.client.patch(f"{API}/flow", json={"mode": "observe"})
        rebound = web.client.get(f"{API}/jobs", headers={"Host": "evil.example"})
        named = web.client.get(f"{API}/jobs", headers={"Host": "localhost:1"})
        web.token("first", "viewer")
        later = web.client.get(f"{API}/jobs")

    assert (told["role"], told["login"]) == ("operator", False)
    assert changed.status_code == 200
    problem(plain, 403)
    problem(rebound, 421)
    assert named.status_code == 200
    problem(later, 401)


def test_beyond_this_machine_nobody_gets_in_once_the_last_token_is_gone(tmp_path: Path) -> None:
    with served(settings_of(tmp_path), open_to=None) as web:
        headers = web.bearer("only", "operator")
        assert web.client.get(f"{API}/jobs", headers=headers).status_code == 200

        web.parts.tokens.remove("only")

        problem(web.client.get(f"{API}/jobs", headers=headers), 401)
        problem(web.client.get(f"{API}/jobs"), 401)


def test_with_names_given_it_answers_under_no_other(tmp_path: Path) -> None:
    with served(settings_of(tmp_path), hosts={*LOOPBACK, "jobs.example"}) as web:
        for host in ("jobs.example", "JOBS.example:80", "127.0.0.1"):
            assert web.client.get("/healthz", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "jobs.example.evil", "", "[::2]"):
            problem(web.client.get("/healthz", headers={"Host": host}), 421)


def test_where_the_tokens_cannot_be_read_nobody_gets_in(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_self: object) -> list[AccessToken]:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(type(web.parts.tokens), "all", gone)

    problem(web.client.get(f"{API}/jobs"), 503)
    problem(web.client.get(f"{API}/session"), 503)


def test_a_secret_is_shared_by_all_processes_of_a_store(tmp_path: Path) -> None:
    with served(settings_of(tmp_path)) as one, served(settings_of(tmp_path)) as two:
        browser, _, _ = logged_in(one)
        cookies = dict(browser.cookies)

        answer = httpx.get(f"{two.url}{API}/jobs", cookies=cookies)

    assert answer.status_code == 200


def test_a_store_in_memory_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="store that others use"):
        wiring_web.open_web(settings_of(tmp_path, store_url="sqlite:///:memory:"))
