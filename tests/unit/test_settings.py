"""Where settings come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from warrener.domain.errors import UsageError
from warrener.services import settings


def load(
    tmp_path: Path, flags: dict[str, str | None] | None = None, **environ: str
) -> settings.Settings:
    home = {"HOME": str(tmp_path / "home")}
    return settings.load(flags or {}, {**home, **environ}, tmp_path)


def test_without_anything_the_store_is_in_the_users_data_folder(tmp_path: Path) -> None:
    found = load(tmp_path)

    assert found.store_url == f"sqlite:///{tmp_path}/home/.local/share/warrener/warrener.db"
    assert found.views_url == found.store_url
    assert found.broker_url == "memory:"


def test_the_data_folder_follows_xdg_unless_it_is_relative(tmp_path: Path) -> None:
    assert load(tmp_path, XDG_DATA_HOME="/data").store_url == "sqlite:////data/warrener/warrener.db"
    assert "home/.local" in load(tmp_path, XDG_DATA_HOME="data").store_url


def test_flags_win_over_variables_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "warrener.toml").write_text(
        'store_url = "sqlite:///file.db"\nviews_url = "sqlite:///views.db"\nlog = "json"\n'
    )

    found = load(tmp_path, {"store_url": "sqlite:///flag.db"}, WARRENER_VIEWS_URL="sqlite:///v.db")

    assert found.store_url == "sqlite:///flag.db"
    assert found.views_url == "sqlite:///v.db"
    assert found.log == "json"


@pytest.mark.parametrize("url", ["http://c:4318", "https://user:hunter2@c/otlp"])
def test_a_collector_of_traces_is_a_url_whose_password_is_not_shown(
    tmp_path: Path, url: str
) -> None:
    found = load(tmp_path, WARRENER_OTLP_URL=url)

    assert found.otlp_url == url
    assert "hunter2" not in f"{found}"


@pytest.mark.parametrize("url", ["c:4317", "grpc://c:4317", "http://", "http://c:x", "on"])
def test_what_is_no_collector_of_traces_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of a collector of traces"):
        load(tmp_path, WARRENER_OTLP_URL=url)


def test_a_flag_that_is_not_given_hides_nothing(tmp_path: Path) -> None:
    found = load(tmp_path, {"store_url": None}, WARRENER_STORE_URL="sqlite:///a.db")

    assert found.store_url == "sqlite:///a.db"


def test_the_file_of_the_working_folder_hides_the_users(tmp_path: Path) -> None:
    config = tmp_path / "config" / "warrener"
    config.mkdir(parents=True)
    (config / "warrener.toml").write_text('log = "debug"')
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    assert load(tmp_path, **environ).log == "debug"
    (tmp_path / "warrener.toml").write_text('log = "info"')
    assert load(tmp_path, **environ).log == "info"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('stor_url = "sqlite:///a"', "did you mean store_url"),
        ("store_url = 3", "must be text"),
        ("store_url = ", "not valid TOML"),
        ("[store]\nurl = 'x'", "unknown key 'store'"),
        ("a = " + "[" * 20_000, "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "warrener.toml").write_text(text)

    with pytest.raises(UsageError, match=r"warrener\.toml") as refused:
        load(tmp_path)

    assert said in str(refused.value)


def test_an_unknown_variable_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean WARRENER_STORE_URL"):
        load(tmp_path, WARRENER_STORE_URI="sqlite:///a.db")


@pytest.mark.parametrize(
    "name",
    ["SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP_ADDR", "WEB_SERVICE_HOST", "DEBUG"],
)
def test_variables_that_kubernetes_sets_for_a_service_are_no_settings(
    tmp_path: Path, name: str
) -> None:
    assert load(tmp_path, **{f"WARRENER_{name}": "tcp://10.0.0.1:80"}) == load(tmp_path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a/b.db", "a/b.db"),
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:///~/b.db", str(Path("~/b.db").expanduser())),
        ("SQLite:///a b%20.db", "a b%20.db"),
    ],
)
def test_a_sqlite_url_names_a_file(url: str, path: str) -> None:
    assert settings.sqlite_path(url) == path


@pytest.mark.parametrize(
    "url", ["sqlite:///", "sqlite://a.db", "a.db", "", "sqlite:///a/", "sqlite:///a?mode=ro"]
)
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        settings.sqlite_path(url)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d", "postgres://u:secret@h/d"])
def test_a_store_of_later_is_refused_with_what_works(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="not supported yet: what works is sqlite:///") as refused:
        load(tmp_path, {"store_url": url})

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://u:secret@h", "amqp:", "u:secret@h", "amqp://a,http://b"])
def test_what_is_no_broker_is_refused_with_what_works(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="what works is memory: and amqp://") as refused:
        load(tmp_path, WARRENER_BROKER_URL=url)

    assert "secret" not in str(refused.value)


def test_the_nodes_of_a_broker_may_be_several(tmp_path: Path) -> None:
    found = load(tmp_path, WARRENER_BROKER_URL="amqp://u:secret@a,amqps://u:secret@b")

    assert found.redacted()["broker_url"] == "amqp://u:***@a,amqps://u:***@b"


def test_passwords_and_tokens_are_not_shown() -> None:
    found = settings.Settings(
        store_url="sqlite:///a.db",
        views_url="mongodb://user:hunter2@host/db",
        api_token="hunter2",
        api_url="https://u:hunter2@host:8000/x",
    )

    assert "hunter2" not in f"{found.redacted()}{found!r}{found}"
    assert found.redacted()["views_url"] == "mongodb://user:***@host/db"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", (None, None)),
        ("json", ("json", None)),
        ("debug", (None, "debug")),
        ("JSON, info", ("json", "info")),
    ],
)
def test_the_log_setting_is_a_format_a_level_or_both(
    text: str, parts: tuple[str | None, str | None]
) -> None:
    assert settings.log_parts(text) == parts


@pytest.mark.parametrize("text", ["jsno", "json,console", "debug,info"])
def test_a_wrong_log_setting_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="log "):
        load(tmp_path, WARRENER_LOG=text)


def test_secrets_of_notifications_are_not_shown(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        WARRENER_WEBHOOK_URL="https://hooks.example.com/hunter2?token=hunter2",
        WARRENER_WEBHOOK_SECRET="hunter2-hunter2-hunter2",
        WARRENER_SMTP_URL="smtps://warrener:hun,ter2,hunter2@mail.example.com",
    )

    shown = found.redacted()
    assert "hunter2" not in f"{shown}{found!r}{found}"
    assert "hun,ter2" not in f"{shown}{found!r}{found}"
    assert shown["smtp_url"] == "smtps://warrener:***@mail.example.com"
    assert shown["webhook_url"] == shown["webhook_secret"] == "***"


def test_people_are_told_of_requests_and_reminders_unless_said_otherwise(tmp_path: Path) -> None:
    told = settings.notify_kinds(load(tmp_path).notify_on)

    assert told == {"user_action.requested", "user_action.reminded"}
    assert settings.notify_kinds(" job.failed , ") == {"job.failed"}


def test_an_unknown_event_to_be_told_of_is_refused_with_the_nearest_known_one(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"did you mean job\.failed"):
        load(tmp_path, WARRENER_NOTIFY_ON="user_action.requested,job.faild")


@pytest.mark.parametrize(
    ("text", "on"),
    [("yes", True), ("1", True), (" True ", True), ("no", False), ("off", False), ("", False)],
)
def test_a_switch_is_yes_or_no(text: str, on: bool) -> None:
    assert settings.switched(text, "X") is on


def test_a_switch_that_is_neither_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match="X is yes or no, not 'maybe'"):
        settings.switched("maybe", "X")


def test_a_password_with_a_comma_of_a_url_with_several_hosts_is_not_shown() -> None:
    url = "mongodb://ada:se,cr@et@one:27017,two/db?replicaSet=rs0"

    assert settings.redacted_url(url) == "mongodb://ada:***@one:27017,two/db?replicaSet=rs0"
