"""From a request to its events: fallbacks, options, evidence, bills. Providers do as they are told."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.fakes import pipeline
from tests.fakes.pipeline import Scripted, Settling, answer, ran, request, usage

from telecine import inference as module
from telecine.errors import (
    FormRefused,
    InputError,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
    VideoNotConsumed,
)
from telecine.models import Asked, Capabilities, Delta, FilePart, FramesPart, Receipt, Usage
from telecine.providers.catalog import Price

PRICE = Price(
    prompt=Decimal("3e-7"), completion=Decimal("25e-7"), source="list", dated="2026-11-22"
)
EYES = Capabilities(delivery=("file",), images=("jpeg", "png"))
ALL = frozenset({"effort", "response_format", "seed", "stop", "temperature", "provider"})


@pytest.fixture
def ask(run, tmp_path):
    """What comes of one request, or of several one after the other."""

    def ask(providers, *requests, **options):
        async def main():
            async with pipeline.opened(tmp_path, *providers, **options) as inference:
                return [await ran(inference, each) for each in requests]

        found = run(main())
        return found if len(found) > 1 else found[0]

    return ask


# ---------------------------------------------------------------- what is told of every run


def test_a_run_yields_its_bill_its_usage_its_receipt_and_its_end(ask):
    p = Scripted(price=PRICE)
    found = ask([p], request())
    assert found.text == "What?"
    [bill] = found.bills
    assert (bill.provider, bill.model, bill.upstream_id) == ("p", "m", "p-1")
    assert bill.usage.cost == 270 * PRICE.prompt + 2 * PRICE.completion
    assert bill.price_source == "list 2026-11-22"
    assert found.usage == bill.usage
    assert [type(event).__name__ for event in found.events[-3:]] == ["Usage", "Receipt", "Done"]


def test_a_call_is_announced_before_it_is_made_and_again_with_its_id(ask):
    found = ask([Scripted()], request())
    [begun, known] = found.of(Asked)
    assert (begun.upstream_id, known.upstream_id) == (None, "p-1")
    assert begun.call == known.call == found.bills[0].call
    assert found.events.index(found.of(Asked)[0]) < found.events.index(found.of(Delta)[0])


def test_a_receipt_comes_before_the_model_is_asked_for_those_that_are_cut_off(ask):
    found = ask([Scripted()], request())
    early = found.of(Receipt)[0].body
    assert found.events.index(found.of(Receipt)[0]) < found.events.index(found.of(Asked)[0])
    assert early["videos"][0]["sent"]["as"] == "file"


def test_the_receipt_tells_the_plan_the_delivery_the_bill_and_the_times(ask):
    told = ask([Scripted(price=PRICE)], request()).receipt
    assert told["plan"]["videos"][0]["as"] == "file"
    assert told["deliveries"] == [
        {"provider": "p", "model": "m", "forms": ["file"], "ended": "answered"}
    ]
    assert (told["videos"][0]["seen"], told["videos"][0]["evidence"]) == (
        "yes",
        "258 video tokens in the prompt",
    )
    [bill] = told["bills"]
    assert (bill["usd"], bill["source"], bill["price_source"]) == (
        "0.000086",
        "computed",
        "list 2026-11-22",
    )
    assert told["cost"] == {"usd": "0.000086", "source": "computed", "known_usd": "0.000086"}
    assert list(told["seconds"]) == ["fetch", "prepare", "first_text", "total"]
    assert told["usage"]["confidence"] == "normal"


# ---------------------------------------------------------------- another form


def refusal(text="no such kind of part"):
    return FormRefused(f"p answered 400: {text}", provider="p", loc=("body", "video_urls", 0))


def test_a_form_that_is_refused_is_followed_by_the_next(ask):
    p = Scripted(script=[refusal()], capabilities=EYES)
    found = ask([p], request())
    assert found.error is None
    assert [type(call.parts[0]) for call in p.calls] == [FilePart, FramesPart]
    assert found.receipt["videos"][0]["seen"] == "yes"
    assert [entry["forms"] for entry in found.receipt["deliveries"]] == [["file"], ["frames"]]
    assert "no such kind of part" in found.receipt["deliveries"][0]["ended"]
    assert any("not sent as file then" in line for line in found.logs)


def test_what_was_refused_is_not_billed(ask):
    found = ask([Scripted(script=[refusal()], capabilities=EYES)], request())
    assert len(found.bills) == 1


def test_when_no_form_is_left_the_upstreams_words_are_told(ask):
    found = ask([Scripted(script=[refusal(), refusal("no stills either")])], request())
    assert isinstance(found.error, FormRefused)
    assert "no such kind of part" in found.error.message


def test_a_form_is_not_tried_twice(ask):
    p = Scripted(script=[refusal(), refusal(), refusal()], capabilities=EYES)
    found = ask([p], request())
    assert isinstance(found.error, FormRefused)
    assert len(p.calls) == 2


def test_after_the_first_text_nothing_is_tried_again(ask):
    p = Scripted(script=[[Delta("A"), refusal()]], capabilities=EYES)
    found = ask([p], request())
    assert isinstance(found.error, FormRefused)
    assert len(p.calls) == 1


# ---------------------------------------------------------------- another model


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailable("p is down", provider="p"),
        ProviderFailed("p broke", provider="p"),
        ProviderRejected("p will not", type="content_policy_violation", provider="p"),
        TooLarge("more than the model takes at once"),
        refusal(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_fails_before_the_first_text_the_next_model_is_asked(ask, error):
    p, q = Scripted("p", [error]), Scripted("q")
    found = ask([p, q], request(models=["q/n"]))
    assert (found.text, found.error) == ("What?", None)
    [fallback] = found.receipt["fallbacks"]
    assert (fallback["model"], fallback["message"]) == ("p/m", error.message)
    assert (found.receipt["provider"], found.receipt["provider_model"]) == ("q", "n")
    assert any("q/n is asked instead" in line for line in found.logs)


def test_what_may_have_been_billed_before_a_fallback_is_a_bill_of_its_own(ask):
    p = Scripted("p", [ProviderFailed("p broke", upstream_id="gen-9")])
    q = Scripted("q", answers=lambda _: answer("Ok.", usage(cost="0.5", video=1)))
    found = ask([p, q], request(models=["q/n"]))
    assert [(bill.provider, bill.usage.cost, bill.upstream_id) for bill in found.bills] == [
        ("p", None, "gen-9"),
        ("q", Decimal("0.5"), "q-1"),
    ]
    assert (found.usage.cost, found.usage.cost_source) == (None, "unknown")
    assert found.receipt["cost"]["known_usd"] == "0.5"


def test_a_model_that_nobody_has_or_that_cannot_see_is_passed_over(ask):
    blind = Scripted("blind", capabilities=Capabilities(delivery=()))
    q = Scripted("q")
    found = ask([blind, q], request(model="nobody/x", models=["blind/m", "q/n"]))
    assert (found.error, len(q.calls), blind.calls) == (None, 1, [])
    assert len(found.receipt["fallbacks"]) == 2


def test_what_the_next_model_cannot_do_is_said_of_it(ask):
    p, q = Scripted("p", [ProviderUnavailable("down")]), Scripted("q")
    p.told = replace(EYES, options=ALL)
    found = ask([p, q], request(models=["q/n"], seed=7))
    assert "q/n does not take seed here: it is ignored" in found.receipt["warnings"]


def test_the_files_are_fetched_once_for_all_models(ask):
    p, q = Scripted("p", [ProviderUnavailable("down")]), Scripted("q")
    found = ask([p, q], request(models=["q/n"]))
    assert len(found.receipt["videos"]) == 1
    assert p.calls[0].parts[0].path == q.calls[0].parts[0].path


def test_a_video_that_cannot_be_had_is_no_matter_of_the_model(ask):
    q = Scripted("q")
    bad = pipeline.DATA / "not_a_video.mp4"
    found = ask([Scripted(), q], request("What?", bad, models=["q/n"]))
    assert isinstance(found.error, InputError)
    assert q.calls == []


def test_after_the_first_text_no_other_model_is_asked(ask):
    q = Scripted("q")
    p = Scripted("p", [[Delta("A"), ProviderFailed("cut")]])
    found = ask([p, q], request(models=["q/n"]))
    assert isinstance(found.error, ProviderFailed)
    assert q.calls == []


def test_when_all_fail_it_may_be_tried_again_if_any_may(ask):
    p = Scripted("p", [ProviderUnavailable("busy", retry_after_seconds=7)])
    q = Scripted("q", [ProviderRejected("no")])
    error = ask([p, q], request(models=["q/n"])).error
    assert (error.retryable, error.retry_after_seconds) == (True, 7)


def test_when_any_may_have_been_billed_it_is_not_tried_again(ask):
    p, q = Scripted("p", [ProviderFailed("cut")]), Scripted("q", [ProviderUnavailable("busy")])
    assert ask([p, q], request(models=["q/n"])).error.retryable is False


# ---------------------------------------------------------------- routes that do not answer


def test_a_dead_route_is_not_asked_again_and_again(ask):
    p = Scripted("p", [ProviderUnavailable("dead")] * 20)
    found = ask([p], *[request()] * 8)
    assert len(p.calls) == 5
    assert all(isinstance(each.error, ProviderUnavailable) for each in found)
    assert found[-1].error.retry_after_seconds > 20


def test_a_dead_route_is_refused_before_anything_is_fetched(ask):
    p = Scripted("p", [ProviderUnavailable("dead")] * 20)
    assert ask([p], *[request()] * 6)[-1].receipt["videos"] == []


def test_fallbacks_pass_over_a_dead_route(ask):
    p, q = Scripted("p", [ProviderUnavailable("dead")] * 20), Scripted("q")
    found = ask([p, q], *[request(models=["q/n"])] * 8)
    assert len(p.calls) == 5
    assert all(each.error is None for each in found)


# ---------------------------------------------------------------- options


def test_an_option_that_the_route_has_reaches_it(ask):
    p = Scripted(capabilities=replace(EYES, options=ALL))
    ask([p], request(seed=7, temperature=0.5, stop=["END"], reasoning="high"))
    [call] = p.calls
    assert (call.seed, call.temperature, call.stop, call.effort) == (7, 0.5, ("END",), "high")


def test_an_option_that_the_route_lacks_is_a_warning_and_does_not_reach_it(ask):
    p = Scripted()
    found = ask([p], request(seed=7, temperature=0.5, reasoning="high", provider={"only": ["x"]}))
    [call] = p.calls
    assert (call.seed, call.temperature, call.effort, call.provider) == (None,) * 4
    assert [warning.split()[4] for warning in found.receipt["warnings"]] == [
        "effort",
        "seed",
        "temperature",
        "provider",
    ]


def test_strict_refuses_it_where_it_stands(ask):
    found = ask([Scripted()], request(seed=7, reasoning="high", strict=True))
    assert {problem.loc[-1] for problem in found.error.problems} == {"seed", "reasoning"}
    assert {problem.type for problem in found.error.problems} == {"feature_not_supported"}


def test_a_stop_word_that_the_route_does_not_know_cuts_the_answer_here(ask):
    p = Scripted(answers=lambda _: answer("one two EN D three END four", usage(video=1)))
    found = ask([p], request(stop=["END"]))
    assert found.text == "one two EN D three "
    assert found.receipt["upstream"]["finish_reason"] == "stop"
    assert found.usage.total_tokens == 272, "what was cut away was paid for"


SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object", "required": ["a"]}},
}


def test_a_schema_becomes_words_where_the_route_takes_none(ask):
    p = Scripted(answers=lambda _: answer('{"a": 1}'))
    found = ask([p], request(response_format=SCHEMA))
    [call] = p.calls
    assert call.response_format is None
    assert json.dumps(SCHEMA["json_schema"]["schema"]) in call.system_prompt
    assert ["takes no response_format" in warning for warning in found.receipt["warnings"]] == [
        True
    ]


def test_an_answer_that_does_not_fit_the_schema_is_a_warning(ask):
    p = Scripted(capabilities=replace(EYES, options=ALL), answers=lambda _: answer('{"b": 1}'))
    found = ask([p], request(response_format=SCHEMA))
    assert found.error is None
    assert "'a' is a required property" in found.receipt["warnings"][0]


def test_strict_fails_it_and_keeps_what_was_paid_for(ask):
    p = Scripted(capabilities=replace(EYES, options=ALL), answers=lambda _: answer("Sorry, no."))
    found = ask([p], request(response_format=SCHEMA, strict=True))
    assert (found.error.status, found.error.type) == (422, "response_format_mismatch")
    assert found.receipt["output"] == "Sorry, no."
    assert len(found.bills) == 1


# ---------------------------------------------------------------- seen or not


def test_proof_that_it_was_not_seen_fails_the_request_and_keeps_the_text(ask):
    found = ask([Scripted(answers=lambda _: answer("A piano.", usage(12, text=12)))], request())
    assert isinstance(found.error, VideoNotConsumed)
    [problem] = found.error.problems
    assert problem.loc == ("body", "video_urls", 0)
    assert problem.ctx["prompt_tokens_by_modality"] == {"text": 12}
    assert found.receipt["output"] == "A piano."
    assert found.receipt["videos"][0]["seen"] == "no"
    assert len(found.bills) == 1


def test_doubt_is_a_warning(ask):
    found = ask([Scripted(answers=lambda _: answer("A piano.", usage(12)))], request())
    assert found.error is None
    assert "may not have seen video 1" in found.receipt["warnings"][0]


def test_doubt_fails_a_strict_request(ask):
    p = Scripted(answers=lambda _: answer("A piano.", usage(12)))
    assert isinstance(ask([p], request(strict=True)).error, VideoNotConsumed)


def test_of_two_videos_neither_is_claimed_to_be_seen(ask):
    p = Scripted(answers=lambda _: answer("Two.", usage(600, text=12, video=588)))
    told = ask([p], request("What?", pipeline.CLIP, pipeline.DATA / "nasa_webb.mp4")).receipt
    assert [video["seen"] for video in told["videos"]] == ["unknown", "unknown"]


# ---------------------------------------------------------------- figures that were not told


def zero(cost="0.00045"):
    return usage(0, 180, cost)


def test_without_prompt_tokens_the_upstream_is_asked_what_it_was(ask):
    p = Settling(bills={"p-1": usage(270, 180, "0.000531")}, answers=lambda _: answer("A.", zero()))
    found = ask([p], request())
    assert (found.usage.cost, found.usage.prompt_tokens) == (Decimal("0.000531"), 270)
    assert found.receipt["usage"]["confidence"] == "normal"


def test_until_it_tells_its_cost_is_unknown_and_the_figures_are_marked(ask, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_WAITS", (0.0, 0.0))
    p = Settling(answers=lambda _: answer("A.", zero()))
    found = ask([p], request())
    assert p.asked == ["p-1", "p-1"]
    assert (found.usage.cost, found.usage.cost_source) == (None, "unknown")
    assert found.receipt["usage"]["confidence"] == "low"
    assert (found.error, found.receipt["videos"][0]["seen"]) == (None, "unknown")


def test_a_provider_that_tells_no_usage_is_an_unknown_bill(ask):
    found = ask([Scripted(answers=lambda _: [Delta("A cat.")])], request())
    assert found.bills[0].usage == Usage()
    assert "the provider reported no usage" in found.receipt["warnings"]


def test_an_answer_that_breaks_off_before_its_usage_is_an_unknown_bill_with_its_id(ask):
    found = ask([Scripted(script=[[Delta("A"), ProviderFailed("cut")]])], request())
    assert [(bill.usage, bill.upstream_id) for bill in found.bills] == [(Usage(), "p-1")]


def test_an_answer_that_breaks_off_after_its_usage_is_billed(ask):
    p = Scripted(script=[[Delta("A"), usage(cost="0.1"), ProviderFailed("late error")]])
    assert ask([p], request()).bills[0].usage.cost == Decimal("0.1")


# ---------------------------------------------------------------- before anything is asked


def test_a_plan_tells_what_would_be_sent_and_what_it_would_cost(run, tmp_path):
    p = Scripted(price=PRICE, capabilities=replace(EYES, max_output_tokens=1000))

    async def main():
        async with pipeline.opened(tmp_path, p) as inference:
            return await inference.plan(request())

    planned = run(main())
    assert p.calls == []
    assert planned.route.provider is p
    assert planned.plan.videos[0].form == "file"
    assert [medium.origin for medium in planned.media] == ["jfk_slides.mp4"]
    if planned.prompt_tokens is not None:
        assert planned.cost_low == planned.prompt_tokens * PRICE.prompt
        assert planned.cost_high == planned.cost_low + 1000 * PRICE.completion
