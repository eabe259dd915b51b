"""URLs of MongoDB: what they name, and what is refused, never with a password."""

from __future__ import annotations

import pytest

from warrener.adapters.mongo_url import mongo_target
from warrener.domain.errors import UsageError


@pytest.mark.parametrize(
    ("url", "database", "shown"),
    [
        ("mongodb://localhost/jobs", "jobs", "mongodb://localhost/jobs"),
        ("mongodb://a:1,b:2,[::1]:3/jobs", "jobs", "mongodb://a:1,b:2,[::1]:3/jobs"),
        ("mongodb://me:p%40ss%2F@h:27017/jobs?w=majority", "jobs", "mongodb://h:27017/jobs"),
        ("mongodb+srv://me:secret@c.example.net/jobs", "jobs", "mongodb+srv://c.example.net/jobs"),
        ("mongodb://h/j%C3%B6bs", "jöbs", "mongodb://h/jöbs"),
    ],
)
def test_a_url_names_hosts_and_a_database(url: str, database: str, shown: str) -> None:
    target = mongo_target(url)

    assert (target.database, target.shown, target.url) == (database, shown, url)
    assert not target.standalone


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("mongodb://h/d?warrener_standalone=yes", "mongodb://h/d"),
        ("mongodb://h/d?Warrener_Standalone=true&appName=x", "mongodb://h/d?appName=x"),
        (
            "mongodb://h/d?appName=x&warrener_standalone=yes&tls=true",
            "mongodb://h/d?appName=x&tls=true",
        ),
    ],
)
def test_our_own_option_does_not_reach_the_driver(url: str, left: str) -> None:
    target = mongo_target(url)

    assert target.standalone
    assert target.url == left


def test_what_hosted_services_hand_out_is_taken() -> None:
    options = "retryWrites=true&w=majority&appName=Cluster0"

    target = mongo_target(f"mongodb+srv://me:secret@c.example.net/jobs?{options}")

    assert target.options == {"retrywrites", "w", "appname"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///x", "not one of MongoDB"),
        ("mongodb:/h/d", "not one of MongoDB"),
        ("mongodb://h", "names no database"),
        ("mongodb://h/", "names no database"),
        ("mongodb://h?w=majority", "names no database"),
        ("mongodb:///d", "cannot be read"),
        ("mongodb://h:1:2/d", "cannot be read"),
        ("mongodb://h:99999/d", "cannot be read"),
        ("mongodb://a,,b/d", "cannot be read"),
        ("mongodb+srv://a,b/d", "one host name and no port"),
        ("mongodb+srv://a:1/d", "one host name and no port"),
        ("mongodb://h/a.b", "cannot be the name"),
        ("mongodb://h/a/b", "cannot be the name"),
        ("mongodb://h/a%00b", "cannot be the name"),
        (f"mongodb://h/{'x' * 64}", "cannot be the name"),
        ("mongodb://h/admin", "MongoDB's own"),
        ("mongodb://h/d?w=1", "w in the store's URL must be majority"),
        ("mongodb://h/d?w=0", "must be majority"),
        ("mongodb://h/d?journal=false", "must be true"),
        ("mongodb://h/d?readConcernLevel=local", "must be majority"),
        ("mongodb://h/d?readPreference=secondary", "must be primary"),
        ("mongodb://h/d?replicaset=a&replicaSet=b", "twice"),
        ("mongodb://h/d?repicaSet=a", "did you mean replicaSet"),
        ("mongodb://h/d?warrener_standalon=yes", "did you mean warrener_standalone"),
        ("mongodb://h/d?warrener_standalone=maybe", "yes or no"),
        ("mongodb://h/d?maxPoolSize=many", "maxPoolSize"),
        ("mongodb://h/d?tlsCAFile=/nowhere.pem", "file of the option tlsCAFile"),
        ("mongodb://h/d?tz_aware=false", "unknown option"),
        ("mongodb://h/d?w", "name=value"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        mongo_target(url)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://me:hunter2@h",
        "mongodb://me:hunter2",
        "mongodb://me:hunter2/@h/d",
        "mongodb://me:hunter2@x@h/d",
        "mongodb://me:hunter2:x@h/d",
        "mongodb://me:%hunter2@h/d",
        "mongodb://me:hunter2?x@h/d",
        "mongodb://me:x?hunter2=x@h/d",
        "mongodb://me:x/hunter2@h/d",
        "mongodb://me:x/hunter2@h:1",
        "mongodb://me:hunter2@h:hunter2/d",
        "mongodb+srv://me:hunter2@a,b/d",
        "mongo://me:hunter2@h/d",
        "mongodb://me:hunter2@h/d?tlsInsecure=hunter2",
        "mongodb://me:hunter2@h/d?authMechanismProperties=hunter2",
    ],
)
def test_a_refusal_never_shows_a_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        mongo_target(url)

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
