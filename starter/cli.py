"""`sanshen`: the same acts and reads as the web, and what operators need."""

import gc
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from starter import (
    cli_admin,
    cli_audit,
    cli_backup,
    cli_bulletins,
    cli_channels,
    cli_hooks,
    cli_matters,
    cli_people,
    cli_retention,
    cli_ways,
)
from starter.cli_output import (
    NOT_FOUND,
    OUTSIDE,
    REFUSED,
    USAGE,
    CommandError,
    cell,
    facts,
    fail,
    say,
    show,
    show_json,
    t,
    table,
    word,
)

app = typer.Typer(
    help="三审三校 · review and publishing of government new media.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
export = typer.Typer(help="The ledger as files.", no_args_is_help=True)
for name, commands in {
    **cli_people.GROUPS,
    **cli_matters.GROUPS,
    **cli_hooks.GROUPS,
    **cli_bulletins.GROUPS,
    **cli_channels.GROUPS,
    **cli_retention.GROUPS,
    **cli_ways.GROUPS,
    "audit": cli_audit.audit,
    "export": export,
}.items():
    app.add_typer(commands, name=name)

TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="SANSHEN_TOKEN", help="Who acts.", show_envvar=True)
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="The web's address; else the one in DATA/run.json.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="The data folder; else SANSHEN_DATA, else `data`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Idempotency key; the same again has no second effect.")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An item's id.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="JSON, YAML or Markdown; - is standard input.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")]
AfterOption = Annotated[str | None, typer.Option("--after", help="Go on after this one.")]

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LIST_COLUMNS = (
    "number",
    "id",
    "title",
    "category",
    "status",
    "unit",
    "holder",
    "due_at",
    "overdue",
)
INBOX_COLUMNS = ("number", "id", "title", "step", "round", "category", "due_at", "overdue")
STEP_COLUMNS = ("step", "round", "unit", "role", "people", "state", "due_at", "decided_at")


def client(token: str | None, url: str | None, data: Path | None) -> Any:
    from starter.cli_client import Client

    return Client(token, url, data)


def item_path(submission_id: str, side: str = "") -> str:
    """Return an item's address; what can't be an id is not found, here as there."""
    if not submission_id or not all(
        c.isascii() and (c.isalnum() or c in "_-") for c in submission_id
    ):
        fail("not_found", NOT_FOUND, id=submission_id)
    return f"/submissions/{submission_id}{side}"


# --- the whole and its parts --------------------------------------------------------------------


@app.command()
def up(
    data: Annotated[Path, typer.Option(envvar="SANSHEN_DATA", help="Where all is kept.")] = Path(
        "data"
    ),
    port: Annotated[int, typer.Option(help="The web's; 0 takes a free one.")] = 8080,
    engine_port: Annotated[int, typer.Option(help="The engine's; 0 takes a free one.")] = 7233,
    demo: Annotated[bool, typer.Option("--demo", help="Fill in the demo bureau.")] = False,
    policy: Annotated[str | None, typer.Option(help="A rule pack's file or name.")] = None,
) -> None:
    """Run the whole: engine, ledger, worker and web, until Ctrl-C.

    Example: sanshen up --demo
    """
    from starter.embedded import run_up

    raise typer.Exit(run_up(data, port, engine_port, demo, policy))


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Keep it here; else in a folder that is removed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a day at the bureau without a browser.

    Example: sanshen demo
    """
    from starter.demo import run_demo

    raise typer.Exit(run_demo(data, as_json=as_json))


@app.command()
def worker() -> None:
    """Run the worker alone, against the engine and ledger of the settings.

    Example: SANSHEN_TEMPORAL_ADDRESS=engine:7233 sanshen worker
    """
    become("workers")


@app.command()
def web() -> None:
    """Run the web alone, against the engine and ledger of the settings.

    Example: SANSHEN_WEB_PORT=8081 sanshen web
    """
    become("starter.web")


def become(module: str) -> None:
    """Let this process become that part; -P: no module of the current folder is taken for it."""
    import os

    os.execv(sys.executable, [sys.executable, "-P", "-m", "starter.part", module])


# --- acts ---------------------------------------------------------------------------------------


@app.command()
def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, YAML or Markdown; - is stdin.")
    ],
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit a text for review. Markdown carries its fields as YAML between two lines of ---.

    Example: sanshen submit notice.md --token $TOKEN
    """
    from starter.cli_files import read_fields

    asked = client(token, url, data)
    show(asked.post("/submissions", uploaded(asked, read_fields(file), file, key), key), as_json)


def uploaded(asked: Any, fields: dict[str, Any], file: Path, key: str | None) -> dict[str, Any]:
    """Return a file's fields with the attachments that it names by path uploaded."""
    from starter.cli_files import with_uploads

    def upload(name: str, content: bytes, number: int) -> str:
        return str(asked.upload(name, content, f"{key}:{number}" if key else None)["id"])

    return with_uploads(fields, file, upload)


@app.command()
def attach(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document, picture or recording.")],
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a file; its id goes into the attachments of a submission.

    A file for `submit` may also name its attachments by path: `attachments: [{path: map.png}]`.

    Example: sanshen attach map.png --token $TOKEN
    """
    from starter.cli_files import read_upload

    show(client(token, url, data).upload(file.name, read_upload(file), key), as_json)


@app.command()
def revise(
    submission_id: IdArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What changes; as for submit.")],
    base_digest: Annotated[
        str | None, typer.Option(help="The version it starts from; else the current one.")
    ] = None,
    change: Annotated[str | None, typer.Option(help="wording or substance.")] = None,
    note: Annotated[str | None, typer.Option(help="A note for the reviewers.")] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a return with a new version, or edit in an edit step.

    Fields of the file that only a first submission has are left out.

    Example: sanshen revise 01jd3v notice.md --change wording
    """
    from review.requests import Draft, NewVersion
    from starter.cli_files import read_fields

    path = item_path(submission_id)
    given = read_fields(file)
    only_first = Draft.model_fields.keys() - NewVersion.model_fields.keys()
    body = {name: held for name, held in given.items() if name not in only_first}
    asked = client(token, url, data)
    if base_digest or "base_digest" not in body:
        body["base_digest"] = base_digest or asked.get(path)["digest"]
    body |= {n: v for n, v in {"change": change, "note": note}.items() if v is not None}
    body = uploaded(asked, body, file, key)
    show(asked.post(f"{path}/versions", body, key), as_json)


@app.command()
def decide(
    submission_id: IdArgument,
    verdict: Annotated[
        str, typer.Argument(help="approve, approve_with_changes, return or reject.")
    ],
    step: Annotated[str | None, typer.Option(help="Else the one that is open.")] = None,
    round_: Annotated[int | None, typer.Option("--round", help="Else the current one.")] = None,
    unit: Annotated[str | None, typer.Option(help="Of a step that several units share.")] = None,
    digest: Annotated[
        str | None, typer.Option(help="The version judged; else the current one, shown first.")
    ] = None,
    opinion: Annotated[str, typer.Option(help="What the form will say.")] = "",
    reason: Annotated[str, typer.Option(help="The code of the reason for a return.")] = "",
    return_to: Annotated[str, typer.Option(help="author, or an earlier step.")] = "",
    check: Annotated[
        list[str] | None, typer.Option(help="A declaration that holds; once for each.")
    ] = None,
    finding_seen: Annotated[
        list[str] | None, typer.Option(help="A finding that was seen; once for each.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")] = False,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide a step.

    Example: sanshen decide 01jd3v approve --step second_review --opinion 同意
    """
    path = item_path(submission_id)
    asked = client(token, url, data)
    if step is None or digest is None:
        item = asked.get(path)
        step = step or the_open_step(item)
        if digest is None:
            digest = str(item["digest"])
            say(
                t(
                    "about_to_decide",
                    number=item.get("number"),
                    title=item.get("title"),
                    version=item.get("version"),
                    digest=digest.rpartition(":")[2][:12],
                    step=word(step),
                    verdict=word(verdict),
                )
            )
            if sys.stdin.isatty() and not yes and not typer.confirm(t("go_on"), err=True):
                raise typer.Exit(USAGE)
    body: dict[str, Any] = {"step": step, "verdict": verdict, "digest": digest}
    optional = {
        "round": round_,
        "unit": unit,
        "opinion": opinion or None,
        "reason_code": reason or None,
        "return_to": return_to or None,
        "checklist": dict.fromkeys(check, True) if check else None,
        "findings_seen": finding_seen or None,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    show(asked.post(f"{path}/decisions", body, key), as_json)


def the_open_step(item: dict[str, Any]) -> str:
    """Return the one open step that waits for this person; usage error when it isn't one."""
    mine = {
        action.removeprefix("decide:")
        for action in item.get("allowed_actions") or ()
        if action.startswith("decide:")
    }
    steps = {s["step"] if isinstance(s, dict) else str(s) for s in item.get("open_steps") or ()}
    chosen = mine or steps
    if len(chosen) != 1:
        fail("which_step", steps=cell(sorted(chosen)) or "-")
    return chosen.pop()


@app.command()
def act(
    submission_id: IdArgument,
    what: Annotated[str, typer.Argument(metavar="ACT", help="withdraw, urge, hold, retract …")],
    reason: Annotated[str | None, typer.Option()] = None,
    step: Annotated[str | None, typer.Option()] = None,
    round_: Annotated[int | None, typer.Option("--round")] = None,
    unit: Annotated[str | None, typer.Option()] = None,
    to: Annotated[str | None, typer.Option(help="The person who takes over.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="For delegate, once for each.")] = None,
    level: Annotated[str | None, typer.Option()] = None,
    due_at: Annotated[str | None, typer.Option(help="RFC 3339 with offset.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339 with offset.")] = None,
    finding: Annotated[str | None, typer.Option(help="The finding to waive.")] = None,
    opinion: Annotated[str | None, typer.Option()] = None,
    anchor: Annotated[str | None, typer.Option(help="The place that a comment is about.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Once for each.")] = None,
    published: Annotated[bool | None, typer.Option("--published/--not-published")] = None,
    base_digest: Annotated[str | None, typer.Option()] = None,
    title: Annotated[str | None, typer.Option()] = None,
    body_file: Annotated[Path | None, typer.Option(help="The corrected text.")] = None,
    change: Annotated[str | None, typer.Option(help="wording or substance.")] = None,
    organisation: Annotated[str | None, typer.Option()] = None,
    finding_seen: Annotated[
        list[str] | None, typer.Option(help="A finding that was seen; once for each.")
    ] = None,
    grade: Annotated[str | None, typer.Option(help="For grade: A, B or C.")] = None,
    key: KeyOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do any other act on an item; which options an act needs stands in /api/docs.

    Example: sanshen act 01jd3v retract --channel site --reason 数据有误
    """
    from starter.cli_files import read_text

    path = item_path(submission_id, "/acts")
    categories, channels = category or [], channel or []
    one_channel = what in ("retry_channel", "resolve_unknown")
    fields = {
        "reason": reason,
        "step": step,
        "round": round_,
        "unit": unit,
        "to": to,
        "category": categories[0] if categories and what != "delegate" else None,
        "categories": categories if categories and what == "delegate" else None,
        "level": level,
        "due_at": due_at,
        "until": until,
        "finding": finding,
        "opinion": opinion,
        "anchor": anchor,
        "channel": channels[0] if channels and one_channel else None,
        "channels": channels if channels and not one_channel else None,
        "published": published,
        "base_digest": base_digest,
        "title": title,
        "body": read_text(body_file) if body_file else None,
        "change": change,
        "organisation": organisation,
        "grade": grade,
        "findings_seen": finding_seen or None,
    }
    body = {"act": what} | {name: value for name, value in fields.items() if value is not None}
    show(client(token, url, data).post(path, body, key), as_json)


# --- reads --------------------------------------------------------------------------------------


@app.command()
def status(
    submission_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where an item stands, who holds it, and why each open step is due when it is.

    Example: sanshen status 01jd3v
    """
    item = client(token, url, data).get(item_path(submission_id))
    if as_json:
        show_json(item)
        return
    heads = ("number", "title", "category", "level", "profile", "status", "version", "round")
    facts(item, (*heads, "digest", "unit", "author", "holder", "due_at", "overdue", "escalated"))
    print()
    table(item.get("plan") or (), STEP_COLUMNS)
    for step in item.get("plan") or ():
        if step.get("state") == "open":
            print(t("due", step=word(step["step"]), due_at=cell(step.get("due_at")) or "-"))
            for reason in step.get("explanation") or ():
                print(t("due_because", reason=cell(reason)))
    for name in ("findings", "publications"):
        if item.get(name):
            print()
            table(item[name], title=word(name))
    if item.get("allowed_actions"):
        print(t("allowed", actions=cell(item["allowed_actions"])))


@app.command()
def form(
    submission_id: Annotated[str | None, typer.Argument(metavar="ID", help="An item's id.")] = None,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A .docx to write.")] = None,
    template: Annotated[
        Path | None,
        typer.Option(
            "--template",
            help="Write annex1.docx and annex2.docx into this folder instead, to be edited in "
            "Word; what lies in DATA/forms is filled in place of our own.",
        ),
    ] = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
) -> None:
    """Write an item's official form, annex 1 or 2, with its supplement, as a Word file.

    Example: sanshen form 01jd3v 审批表.docx
    """
    from starter.cli_forms import write_file

    if template is not None:
        from review.word_forms import FORMS
        from review.word_forms import template as template_of

        for name in FORMS:
            write_file(template / f"{name}.docx", template_of(name))
            print(template / f"{name}.docx")
        return
    if submission_id is None or file is None:
        fail("form_of_what")
    write_file(file, client(token, url, data).download(item_path(submission_id, "/form.docx")))
    print(file)


@export.command(name="ledger")
def export_ledger(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".xlsx, .csv or .jsonl")],
    state: Annotated[str | None, typer.Option("--status", help="in_review, returned …")] = None,
    category: Annotated[str | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option()] = None,
    unit: Annotated[str | None, typer.Option()] = None,
    overdue: Annotated[bool | None, typer.Option("--overdue/--on-time")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only what I submitted.")] = False,
    q: Annotated[str | None, typer.Option(help="Words to look for.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="A day, included.")] = None,
    to: Annotated[str | None, typer.Option(help="A day, included.")] = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the items that I may see as a table, with the filters of `sanshen list`.

    Example: sanshen export ledger 台账.xlsx --from 2026-01-01 --category emergency
    """
    from starter.cli_forms import write_ledger

    filters = {
        "status": state, "category": category, "kind": kind, "unit": unit, "overdue": overdue,
        "mine": mine or None, "q": q, "from": from_, "to": to,
    }  # fmt: skip
    count = write_ledger(file, client(token, url, data), filters)
    show({"file": str(file), "items": count}, as_json)


@export.command(name="item")
def export_item(
    submission_id: IdArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .zip to write.")],
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one item with its texts, files, form and trace; `verify.py` in it checks them.

    Example: sanshen export item 01jd3v 稿件.zip
    """
    from starter.cli_forms import write_file

    content = client(token, url, data).download(item_path(submission_id, "/bundle.zip"))
    write_file(file, content)
    show({"file": str(file), "bytes": len(content)}, as_json)


@app.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option("--status", help="in_review, returned …")] = None,
    category: Annotated[str | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option()] = None,
    unit: Annotated[str | None, typer.Option()] = None,
    overdue: Annotated[bool | None, typer.Option("--overdue/--on-time")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only what I submitted.")] = False,
    q: Annotated[str | None, typer.Option(help="Words to look for.")] = None,
    topic: Annotated[str | None, typer.Option(help="A topic's id or number.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="A day, included.")] = None,
    to: Annotated[str | None, typer.Option(help="A day, included.")] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the items I may see.

    Example: sanshen list --status in_review --overdue
    """
    query = {
        "status": state,
        "category": category,
        "kind": kind,
        "unit": unit,
        "overdue": overdue,
        "mine": mine or None,
        "q": q,
        "topic": topic,
        "from": from_,
        "to": to,
        "limit": limit,
        "after": after,
    }
    show(client(token, url, data).get("/submissions", **query), as_json, LIST_COLUMNS)


@app.command()
def inbox(
    limit: LimitOption = 50,
    after: AfterOption = None,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits for me, least time left first.

    Example: sanshen inbox
    """
    found = client(token, url, data).get("/inbox", limit=limit, after=after)
    show(found, as_json, INBOX_COLUMNS)


@app.command()
def board(
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show supervisors how things stand: counts, and what is overdue with whom.

    Example: sanshen board
    """
    show(client(token, url, data).get("/board"), as_json)


@app.command()
def stats(
    from_: Annotated[str | None, typer.Option("--from", help="A day, included.")] = None,
    to: Annotated[str | None, typer.Option(help="A day, included.")] = None,
    by: Annotated[
        str | None, typer.Option(help="unit, kind, category, month; several with commas.")
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Recompute from the trace alone and compare.")
    ] = False,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count what was submitted, adopted, returned and late.

    With --trace, exit code 1 when the ledger says otherwise than the trace.

    Example: sanshen stats --from 2026-11-01 --to 2026-11-30 --by unit
    """
    web = client(token, url, data)
    if trace:
        found = web.get("/statistics/compare", to=to, **{"from": from_})
        show(found, as_json)
        raise typer.Exit(0 if found["ok"] else REFUSED)
    found = web.get("/statistics", to=to, by=by, **{"from": from_})
    if as_json:
        show_json(found)
        return
    found["rows"] = [
        {k: v for k, v in row.items() if k not in ("original", "first_pass", "ignored")}
        for row in found["rows"]
    ]
    facts(found, ("from", "to", "rows", "units_with_nothing", "steps", "reasons", "reviewers"))


@app.command()
def quality(
    from_: Annotated[str | None, typer.Option("--from", help="A day, included.")] = None,
    to: Annotated[str | None, typer.Option(help="A day, included.")] = None,
    size: Annotated[
        int, typer.Option(min=1, max=200, help="How many published items are drawn.")
    ] = 10,
    seed: Annotated[str, typer.Option(help="The same seed draws the same items.")] = "",
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell supervisors which share of approvals came faster than anybody reads, and draw a sample.

    Example: sanshen quality --from 2026-07-01 --to 2026-09-30 --seed autumn
    """
    asked = {"from": from_, "to": to, "size": size, "seed": seed}
    found = client(token, url, data).get("/quality", **asked)
    if as_json:
        show_json(found)
        return
    facts({name: found[name] for name in ("from", "to", "characters_a_second")})
    table(
        [
            {"month": one["month"]}
            | {f"T{tier['tier']}": f"{tier['quick']}/{tier['approvals']}" for tier in one["tiers"]}
            for one in found["months"]
        ]
    )
    facts({name: found["sample"][name] for name in ("seed", "of")})
    table(found["sample"]["items"])


@app.command()
def timeline(
    submission_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened to an item, in order.

    Example: sanshen timeline 01jd3v
    """
    show(client(token, url, data).get(item_path(submission_id, "/timeline")), as_json)


@app.command()
def related(
    submission_id: IdArgument,
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List incident, topic, orders and cases of an item, of what I may read.

    Example: sanshen related 01jd3v
    """
    found = client(token, url, data).get(item_path(submission_id, "/related"))
    show(found, as_json, ("kind", "id", "number", "state", "title"))


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, YAML or Markdown; - is stdin.")
    ],
    token: TokenOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Screen a text without storing it.

    Example: sanshen check notice.md
    """
    from starter.cli_files import read_fields, with_uploads

    known = (
        "title",
        "body",
        "source",
        "category",
        "level",
        "kind",
        "channels",
        "attachments",
        "ai_generated",
        "authority_reference",
        "disclosure_type",
        "sub_type",
        "event_time",
        "found_time",
        "valid_until",
        "linked",
        "other_outlets",
        "background",
        "audience",
        "how_to",
        "contact",
    )
    given = read_fields(file)
    given = with_uploads(given, file, lambda name, *_: name[:120])  # nothing is stored, so no id
    body = {"title": ""} | {name: given[name] for name in known if name in given}
    found = client(token, url, data).post("/check", body)
    if as_json:
        show_json(found)
    elif found["findings"]:
        columns = ("severity", "rule", "field", "start", "end", "quote", "advice")
        table(found["findings"], columns)
    else:
        print(t("nothing_found"))


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Nudge what the engine forgot.")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Only replay the histories (*.json) of a folder."),
    ] = None,
    live: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only replay N running workflows of each type.")
    ] = 0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the invariants from the ledger; say what ledger and engine disagree on.

    With --replay or --live, see instead whether this version's workflows go on with what is there;
    1 when one doesn't, which is named.

    Example: sanshen doctor

    Example: sanshen doctor --live 100
    """
    if replay or live:
        cli_admin.replay(replay, live, data, as_json)
        return
    cli_admin.doctor(repair, data, as_json)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy ledger, engine, files, site and keys while the system works on.

    Keep the copy as safe as DATA itself: the keys are in it.

    Example: sanshen backup /srv/backup/2026-11-22
    """
    cli_backup.back_up(folder, data, as_json)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `backup` wrote.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup into an empty DATA after checking each file; then verify the ledger.

    Example: sanshen restore /srv/backup/2026-11-22 --data /srv/sanshen
    """
    cli_backup.restore(folder, data, as_json)


def main() -> None:
    """Run a command; whatever a person or the outside did wrong is one line, never a traceback."""
    from review.rules.errors import RuleError

    gc.set_threshold(20_000)  # modules that load are no garbage: 0.3 s of `up`
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        app()
    except CommandError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except RuleError as error:
        print(refusal_line(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(OUTSIDE)


def refusal_line(error: Any) -> str:
    """Return a rule's refusal in one line, every malformed field included."""
    from review.texts import text
    from starter.cli_output import language

    code = f"error.{error.code}"
    shown = {k: v for k, v in error.params.items() if k not in ("code", "language")}
    line = text(code, language(), **shown)
    line = f"{line} [{error.code}]" if line != code else str(error.code)
    for one in error.params.get("pydantic_errors") or ():
        place = ".".join(str(part) for part in one["loc"])
        kind = f"malformed.{one['type']}"
        words = text(kind, language(), **one.get("ctx", {}))
        line += f"; {place}: {words if words != kind else text('malformed.other', language())}"
    for one in error.params.get("errors") or ():
        words = text(f"malformed.{one['message']}", language())
        place = f"{one['file']}:{one['line']}: " if "file" in one else ""
        line += f"; {place}{one['field']}: {words.removeprefix('malformed.')}"
    return " ".join(line.split())


if __name__ == "__main__":
    main()
