"""What a decision leads to, in the words of the plan: who comes next, what goes out."""

from collections.abc import Mapping, Sequence
from typing import Any

from review.texts import text
from starter.web.pages.shape import people
from starter.web.pages.words import say

Json = dict[str, Any]
UNFINISHED = ("waiting", "open")


def offered(item: Json, step: str | None, unit: str | None) -> Json | None:
    """Return the offer that a page is about: the one named, else the first."""
    offers: Sequence[Json] = item.get("offers") or []
    for offer in offers:
        if offer["step"] == step and (unit is None or offer["unit"] == (unit or None)):
            return offer
    return offers[0] if offers and step is None else None


def planned(item: Json, offer: Mapping[str, Any]) -> Json:
    """Return the plan's line that an offer belongs to."""
    return next(
        line
        for line in item["plan"]
        if (line["step"], line["unit"]) == (offer["step"], offer["unit"])
    )


def after(item: Json, offer: Mapping[str, Any]) -> tuple[list[Json], list[Json]]:
    """Return which other steps are open now, and which open next."""
    here = planned(item, offer)
    others = [s for s in item["plan"] if s["state"] == "open" and s is not here]
    later = [s for s in item["plan"] if s["state"] == "waiting"]
    if not later:
        return others, []
    first = later[0]
    beside = [
        s
        for s in later[1:]
        if s["step"] == first["step"] or (s["group"] and s["group"] == first["group"])
    ]
    return others, [first, *beside]


def stop_of(step: Json, language: str) -> str:
    """Return a step with its people: `终审（副局长丙）`."""
    return say(
        "%(step)s（%(people)s）", language,
        step=text(f"step.{step['step']}", language), people=people(step["people"], language),
    )  # fmt: skip


def labels(item: Json, offer: Mapping[str, Any], language: str) -> dict[str, str]:
    """Return each verdict's button, which names its effect."""
    return {verdict: _label(item, offer, verdict, language) for verdict in offer["verdicts"]}


def _label(item: Json, offer: Mapping[str, Any], verdict: str, language: str) -> str:
    word = text(f"verdict.{verdict}", language)
    if verdict != "approve":
        return word
    return say(
        "%(verdict)s，%(effect)s", language, verdict=word, effect=_next(item, offer, language)
    )


def _next(item: Json, offer: Mapping[str, Any], language: str) -> str:
    others, later = after(item, offer)
    if others:
        listed = "；".join(stop_of(step, language) for step in others)
        return say("另待%(stops)s", language, stops=listed)
    if later:
        listed = "、".join(stop_of(step, language) for step in later)
        return say("转%(stops)s", language, stops=listed)
    return say("发布到 %(n)s 个渠道", language, n=len(item["channels"]))


def summaries(item: Json, offer: Mapping[str, Any], language: str) -> dict[str, str]:
    """Return one sentence a verdict: what its sender will have done."""
    step = text(f"step.{offer['step']}", language)
    author = item["author"]["name"] if item["author"] else ""
    effect = _next(item, offer, language)
    said = {
        "approve": say(
            "您将在%(step)s环节同意本稿，%(effect)s。", language, step=step, effect=effect
        ),
        "approve_with_changes": say(
            "您将同意本稿，但须先按您的意见修改并核改后才发布。", language
        ),
        "return": say(
            "您将退回本稿；退给报送人（%(author)s）时审核停止，退给此前环节时从该环节重新开始。",
            language, author=author,
        ),
        "reject": say("您将决定不予发布，本稿的审核到此结束。", language),
    }  # fmt: skip
    return {verdict: said[verdict] for verdict in offer["verdicts"]}


def whereabouts(item: Json, language: str) -> str:
    """Return one sentence: who has the item now and until when."""
    leaving = [one["channel"] for one in item["publications"] if one["retracting"]]
    if leaving:
        return say("正在从 %(n)s 个渠道撤下。", language, n=len(leaving))
    moving = ("in_review", "authorised", "publishing")
    steps = [s for s in item["plan"] if s["state"] == "open"]
    if not steps and item["status"] in moving:
        steps = [s for s in item["plan"] if s["state"] == "waiting"][:1]
    if steps and item["status"] in moving:
        listed = "；".join(stop_of(step, language) for step in steps)
        told = say("现由%(stops)s办理。", language, stops=listed)
        if item["unreached"]:
            names = "、".join(one["name"] for one in item["unreached"])
            told += " " + say(
                "%(names)s收不到邮件或选定的通知，请当面或电话提醒。", language, names=names
            )
        return told
    if item["status"] == "returned" and item["author"]:
        return say("已退回报送人%(author)s修改。", language, author=item["author"]["name"])
    status = text(f"status.{item['status']}", language)
    return say("状态：%(status)s。", language, status=status)
