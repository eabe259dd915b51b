"""What a traced job gives: the definition that a person would have written in YAML."""

from __future__ import annotations

import pytest

from warrener import (
    Budget,
    DefinitionError,
    Retry,
    compute,
    each,
    endpoint,
    expr,
    job,
    need,
)
from warrener.domain.definition.model import Join, Need, RetryRule
from warrener.services.endpoints import Registry

REGISTRY = Registry()


@endpoint("crm.load_account", registry=REGISTRY)
def load_account(account: str): ...


@endpoint(
    "facebook.posts",
    queue="fetch",
    retry=[Retry(on="throttled", wait="retry-after"), Retry(max=4, first="2s")],
    registry=REGISTRY,
)
def facebook(page: str, limit: int = 10): ...


@endpoint("twitter.tweets", registry=REGISTRY)
def twitter_tweets(handle: str | None): ...


@endpoint("report.merge", registry=REGISTRY)
def merge(posts, tweets, parts=None): ...


@endpoint("report.publish", registry=REGISTRY)
def publish(report): ...


@job("social-report", version=3)
def social_report(account: str, twitter: str | None):
    loaded = load_account(account).named("load")
    posts = facebook(loaded.facebook)
    tweets = twitter_tweets(twitter).named("twitter")
    groups = each(
        loaded.groups, lambda item: social_report(item.account, None), window=200, tolerate="2%"
    ).named("groups")
    report = merge(posts, need(tweets, when=twitter != None), groups)  # noqa: E711
    publish(report).when(report.changed)
    return report


def steps_of(function):
    return job("some-job")(function).definition.steps


def test_a_read_result_becomes_the_expression_that_a_person_writes():
    steps = social_report.definition.steps

    assert steps["load"].call == "crm.load_account"
    assert steps["load"].with_ == {"account": "${{ params.account }}"}
    assert steps["facebook"].with_ == {"page": "${{ steps.load.result.facebook }}"}


def test_a_need_makes_a_conditional_edge_and_reads_the_result():
    merged = social_report.definition.steps["merge"]

    assert merged.needs == {"twitter": Need(when="${{ params.twitter != null }}")}
    assert merged.with_["tweets"] == "${{ steps.twitter.result }}"


def test_each_makes_a_fan_out_over_a_job_that_starts_itself():
    groups = social_report.definition.steps["groups"]

    assert groups.job == "social-report"
    assert groups.for_each == "${{ steps.load.result.groups }}"
    assert groups.with_ == {"account": "${{ item.account }}", "twitter": None}
    assert (groups.window, groups.tolerate) == (200, "2%")
    assert social_report.definition.steps["merge"].with_["parts"] == "${{ steps.groups.results }}"


def test_settings_of_the_endpoint_go_into_the_step():
    posts = social_report.definition.steps["facebook"]

    assert posts.queue == "fetch"
    assert posts.retry == (
        RetryRule(on="throttled", wait="retry-after"),
        RetryRule(max=4, first=2.0),
    )


def test_what_the_function_returns_is_the_result_of_the_job():
    assert social_report.definition.result == "${{ steps.merge.result }}"
    assert social_report.definition.version == 3


def test_the_library_of_a_job_that_starts_itself_holds_it():
    assert social_report.library() == {"social-report": social_report.definition}


def test_the_library_holds_jobs_that_are_started_at_any_distance():
    @job("leaf")
    def leaf(): ...

    @job("middle")
    def middle():
        return leaf()

    @job("top")
    def top():
        return middle()

    assert sorted(top.library()) == ["leaf", "middle"]
    assert top.definition.steps["middle"].job == "middle"


def test_the_function_is_traced_once_and_not_before_it_is_asked_for():
    runs = []

    @job("counted")
    def counted():
        runs.append(1)

    assert runs == []
    assert counted.definition is counted.definition
    assert runs == [1]


def test_repeated_calls_get_numbered_names_around_the_given_ones():
    def traced():
        facebook("a")
        facebook("b")
        facebook("c").named("facebook_2")
        facebook("d").named("facebook")

    names = {name: step.with_["page"] for name, step in steps_of(traced).items()}

    assert names == {"facebook_3": "a", "facebook_4": "b", "facebook_2": "c", "facebook": "d"}


def test_a_step_named_after_its_handle_was_used_is_read_by_its_new_name():
    def traced():
        loaded = load_account("x")
        facebook(loaded.page + "?" + loaded.query)
        loaded.named("later")

    assert steps_of(traced)["facebook"].with_["page"] == (
        '${{ steps.later.result.page + "?" + steps.later.result.query }}'
    )


def expression_of(make):
    """Return the expression that `make` gives for two parameters."""

    @job("expressions")
    def traced(a, b):
        return compute({"value": make(a, b)})

    text = traced.definition.steps["compute"].sets["value"]
    return text.removeprefix("${{ ").removesuffix(" }}")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda a, b: a.x["some key"][0], 'params.a.x["some key"][0]'),
        (lambda a, b: a[b], "params.a[params.b]"),
        (lambda a, b: a["in"].größe, 'params.a["in"]["größe"]'),
        (lambda a, b: (a == 1) & (b != "x") | ~a, 'params.a == 1 && params.b != "x" || !params.a'),
        (lambda a, b: ((a == 1) | b) & a, "(params.a == 1 || params.b) && params.a"),
        (lambda a, b: ~(a < b), "!(params.a < params.b)"),
        (lambda a, b: (a + b) * 2 - a / b % 3, "(params.a + params.b) * 2 - params.a / params.b % 3"),  # noqa: E501
        (lambda a, b: a - (b - 1), "params.a - (params.b - 1)"),
        (lambda a, b: 1 - a, "1 - params.a"),
        (lambda a, b: -(a + 1), "-(params.a + 1)"),
        (lambda a, b: a == [1, b, {"k": None}], 'params.a == [1, params.b, {"k": null}]'),
        (lambda a, b: (a >= 2.5) & (b == True), "params.a >= 2.5 && params.b == true"),  # noqa: E712
        (lambda a, b: expr("size({}) > {}", a + b, 2) & a, "(size((params.a + params.b)) > 2) && params.a"),  # noqa: E501
    ],
)  # fmt: skip
def test_operators_give_expressions_with_the_parentheses_they_need(make, text):
    assert expression_of(make) == text


@pytest.mark.parametrize("text", ['a"b\\c\n\u2028', "}} ${{ x }}", "\x00\x1f", "é😀", "a'b"])
def test_text_in_expressions_is_quoted_so_that_it_comes_back_unchanged(text):
    import cel

    written = expression_of(lambda a, b: expr("{}", text))

    assert "}}" not in written
    assert cel.evaluate(written, {}) == text


def test_maps_within_maps_do_not_end_the_expression():
    import cel

    written = expression_of(lambda a, b: expr("{}", {"a": {"b": {"c": "}}"}}}))

    assert "}}" not in written
    assert cel.evaluate(written, {}) == {"a": {"b": {"c": "}}"}}}


def test_text_that_looks_like_an_expression_stays_text():
    import cel

    def traced():
        load_account("${{ params.secret }}")

    written = steps_of(traced)["load_account"].with_["account"]

    assert written.count("${{") == 1
    inner = written.removeprefix("${{ ").removesuffix(" }}")
    assert cel.evaluate(inner, {}) == "${{ params.secret }}"


def test_the_methods_of_a_handle_say_how_the_step_depends_on_others():
    def traced(flag):
        first = load_account("x")
        second = twitter_tweets("y").may_fail().eager()
        third = twitter_tweets("z")
        last = publish(None).after(first, third, first).join("any_failed").cancel_rest()
        last.when((second.status == "failed") & (second.error == None))  # noqa: E711
        last.needs(need(second, when=flag))

    steps = steps_of(traced)

    assert steps["twitter_tweets"].may_fail
    assert steps["twitter_tweets"].eager
    assert steps["publish"].after == ("load_account", "twitter_tweets_2")
    assert steps["publish"].join is Join.ANY_FAILED
    assert steps["publish"].cancel_rest
    assert steps["publish"].needs == {"twitter_tweets": Need(when="${{ params.flag }}")}
    assert steps["publish"].when == (
        '${{ steps.twitter_tweets.status == "failed" && steps.twitter_tweets.error == null }}'
    )


def test_a_second_parameter_of_the_function_of_each_gets_the_index():
    def traced(items):
        each(items, lambda item, index: merge(index, item))

    assert steps_of(traced)["merge"].with_ == {"posts": "${{ index }}", "tweets": "${{ item }}"}


def test_a_parameter_with_a_default_does_not_get_the_index():
    def traced(items):
        each(items, facebook)

    assert steps_of(traced)["facebook"].with_ == {"page": "${{ item }}"}


def test_each_goes_over_a_list_that_is_written_down():
    def traced(first):
        each([first, "b", 3], load_account)

    assert steps_of(traced)["load_account"].for_each == ["${{ params.first }}", "b", 3]


def test_compute_makes_a_step_without_a_worker():
    def traced(a):
        return compute({"twice": a + a, "parts": [a, 1]}).named("totals").twice

    definition = job("some-job")(traced).definition

    assert definition.steps["totals"].sets == {
        "twice": "${{ params.a + params.a }}",
        "parts": ["${{ params.a }}", 1],
    }
    assert definition.result == "${{ steps.totals.result.twice }}"


def test_arguments_left_out_are_left_to_the_function():
    def traced():
        facebook("a")
        facebook(limit=3, page="b")

    steps = steps_of(traced)

    assert steps["facebook"].with_ == {"page": "a"}
    assert steps["facebook_2"].with_ == {"page": "b", "limit": 3}


def test_budget_and_on_failure_are_kept():
    @job("bounded", budget=Budget(depth=3, steps=50), on_failure="stop")
    def bounded(): ...

    assert bounded.definition.budget == Budget(depth=3, steps=50)
    assert bounded.definition.on_failure == "stop"


def test_outside_a_job_an_endpoint_is_the_plain_function():
    @endpoint("plain.add", registry=Registry())
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert add(1) == 3
    assert (add.__name__, add.__doc__) == ("add", "Add.")


def test_the_place_of_each_step_is_known():
    file, line = social_report.places["merge"]

    assert file == __file__
    assert "merge(posts" in open(file).read().splitlines()[line - 1]  # noqa: SIM115


def test_a_failed_trace_leaves_no_trace_behind():
    @job("broken")
    def broken():
        raise ValueError("oops")

    with pytest.raises(DefinitionError):
        _ = broken.definition

    assert load_account.function("x") is None
    assert load_account("x") is None
