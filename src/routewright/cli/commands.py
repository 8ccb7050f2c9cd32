"""Every command: its arguments, its options and its help. What it does is loaded when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from .options import (
    DecideFlags,
    ExportFlags,
    Features,
    FileOption,
    HealthFlags,
    LedgerPath,
    ModelsFlags,
    PolicyPath,
    QuestionFlags,
    QuotaFlags,
    ReplayFlags,
    RolloutFlags,
    Root,
    RunFlags,
    Simulated,
    Since,
    SqlFlags,
    StatementFlags,
    TableFormat,
    TailFlags,
    TaskFlags,
    TextFormat,
    Timezone,
    with_flags,
)
from .sql_argument import SqlCommand
from .stopping import finish_first
from .writer import show_warnings, writer

app = typer.Typer(
    name="routewright",
    help="Decide which model does which piece of LLM work, and prove why.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 ok, 1 a check failed, 2 usage or input, 3 invalid policy or condition, 4 no eligible "
    "target, 5 backend failed, 6 ledger or state store refused, 74 output not written, 130 stopped by Ctrl-C "
    "(129 and 143: SIGHUP and SIGTERM), 141 whoever read the output is gone.",
)

ledger = typer.Typer(name="ledger", no_args_is_help=True, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        from routewright import __version__

        writer.text(f"routewright {__version__}")
        raise typer.Exit


_READING = frozenset({"ask", "export", "report", "show", "sql", "stats", "tail"})
"""The commands of the ledger that have nothing to finish when they are stopped."""


@app.callback()
def _common(
    context: typer.Context,
    plain: Annotated[bool, Option("--plain", help="No colours, also on a terminal.")] = False,
    version: Annotated[
        bool, Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    writer.plain = plain
    show_warnings()
    if context.invoked_subcommand not in (ledger.info.name, "replay"):
        finish_first()


@ledger.callback()
def _ask(context: typer.Context) -> None:
    """Ask the ledger."""
    if context.invoked_subcommand not in _READING:
        finish_first()


@app.command()
def demo(
    ledger: Annotated[
        Path | None,
        FileOption(help="Where the runs are stored.  [default: demo.duckdb in your data directory]"),
    ] = None,
    simulate: Annotated[bool, Option("--simulate", help="Call no model.")] = False,
) -> None:
    """Run the whole job on the shipped policy.

    Ten tasks are decided, one decision is explained, all tasks are executed and stored, and the ledger is asked. It
    needs neither a model server nor a network: a small embedded model stands in for the chat models that this machine
    lacks, and what nothing here can do is named at the end. If an Ollama server answers at $OLLAMA_HOST or its default
    port, its models are used. Your own ledger is not touched.

    \b
    Example:
      routewright demo
    """
    from .demo import demonstrate

    demonstrate(ledger, simulate=simulate)


@app.command()
@with_flags
def decide(
    policy: PolicyPath,
    flags: TaskFlags,
    how: DecideFlags,
    prompt: Annotated[
        str | None, Argument(metavar="PROMPT", help="What would be asked, so that its length is known.")
    ] = None,
) -> None:
    """Show where tasks would go, and why; execute and store nothing.

    One task comes from the options that `run` takes too, or from --task. Many come from --tasks: one JSON object a
    line, with the keys name, prompt, system, documents, features, operation, pin, session, metadata, prompt_tokens,
    max_output_tokens, temperature, messages, images, tools, json_schema, tags, trace
    and draw. With the same --at and
    --seed the output is the same, byte for byte.

    Under a rollout the arm is picked as for a real task; under a shadow both decisions are shown, in JSON as a list.
    Exits with status 4 if the one task has no eligible target, and with 2 if a line of --tasks cannot be decided; the
    other lines are decided all the same. As JSON, each decision of --tasks begins with its `task`: {"line": 1, "name":
    "first"}, and a line that cannot be decided has an `error` instead of a decision.

    --fields picks parts of a record by their names, and of --tasks also task.line, task.name, error.message and
    error.help. --short is a choice of them; CSV is short if no fields are named.

    --assume names a JSON object; every key may be left out: `at`, a time; `load` of this machine, 0 to 1; `models`,
    by name, each with `health` (healthy, unhealthy), `breaker` (closed, open, half_open), `latency_ms`, `loaded`
    (true, false) and `load_ms`; `memory`, by backend: `limit_gb`, and `loaded`, the models in it; `quota_used`, by
    control: a number of requests, tokens or calls, or money such as "12.5 USD"; `session_model`, the model that last
    answered the session.

    \b
    Example:
      routewright decide policies/hybrid.yaml -f complex_reasoning=true --explain
      echo '{"models": {"glm-4.5": {"breaker": "open"}}}' > assumed.json
      routewright decide policies/hybrid.yaml "Design a payment platform" --assume assumed.json
      echo '{"name": "first"}' | routewright decide policies/hybrid.yaml --tasks - --format csv
    """
    from .decide import decide_and_print

    decide_and_print(policy, prompt, flags, how)


@app.command()
@with_flags
def run(
    policy: PolicyPath,
    prompt: Annotated[str, Argument(metavar="PROMPT", help="What to ask; - reads it from standard input.")],
    flags: TaskFlags,
    how: RunFlags,
) -> None:
    """Decide, execute and store one prompt.

    The answer is written as it arrives. Text that is piped in is put before the prompt. A last line on standard
    error names the model that answered, why, the time, tokens and cost, what failed before, and the decision's id
    in the ledger. With --format json the answer comes at once, with the decision's id, the cost, whether it was
    verified, every step and every attempt.

    Exits with status 4 if no model is eligible or limits allow no call, 5 if every model of the plan failed, and 6 if
    the ledger refused the run; the answer is printed all the same.

    \b
    Example:
      routewright run policies/hybrid.yaml "Design a payment platform" -f complex_reasoning=true
      cat report.txt | routewright run policies/hybrid.yaml "Summarise" --map "*=llamacpp:smollm2"
      routewright run policies/hybrid.yaml "Name three colours" --system "Be brief." --simulate
    """
    from .run import run_once

    run_once(policy, prompt, flags, how)


@app.command()
@with_flags
def replay(
    how: ReplayFlags,
    policy: Annotated[
        Path | None, Argument(metavar="CANDIDATE", help="The policy to replay under.", readable=False)
    ] = None,
) -> None:
    """Decide recorded tasks again under another policy.

    The ledger's decisions are made again from the facts that were recorded, by the policy that is named, and the
    report says what would have gone elsewhere, with examples explained under both policies. Nothing is called, and
    nothing is guessed: what the candidate needs and the record lacks is counted by reason. Quotas, caches and
    conversations are as they were recorded.

    For a review, -o comment.md writes the report as Markdown that fits into a comment, and --fail-on makes the status
    1 when a bound is passed: changed, other_plan, no_target (had one and has none) and not_decided as a share or a
    number of decisions, cost, latency and success as a change. What cannot be judged fails.

    With --assume the replay is made as if something had been otherwise: a model or backend `down`, `up` or `retired`
    (NAME=down), other prices (price:NAME*2, price:NAME=IN,OUT), latencies (latency:NAME*3, latency:NAME=5s), limits
    (quota:NAME/2, quota:NAME=1000), use of quotas (quota:NAME used=90%) or load (load=0.9). A name with =, * or blanks
    in it goes in quotes. Without a candidate each decision is made again by the policy that decided it.

    With --self every decision is compared with what its own policy makes of the recorded facts now; the status is 1
    where one differs.

    \b
    Example:
      routewright replay policies/hybrid.yaml --since 30d
      routewright replay policies/hybrid.yaml --where "team = 'research'" -o comment.md -o report.html
      routewright replay --assume glm-4.5=down --assume ollama=down --each
      routewright replay --self
    """
    from .replay import replay_and_print

    raise typer.Exit(replay_and_print(policy, how))


@app.command("eval")
def evaluate(
    expression: Annotated[str, Argument(metavar="EXPRESSION", help="The expression, in quotes.")],
    feature: Features = None,
    policy: Annotated[
        str | None, Option(metavar="POLICY", help="Take the features' types and defaults from it.")
    ] = None,
    root: Root = None,
    format: TextFormat = "text",
) -> None:
    """Evaluate one expression.

    Shows its value, its type, and the value of every part. Without a policy a feature's type is that of
    its value: true, 3, 0.5, text, [1, 2]; `null` is unknown.

    \b
    Example:
      routewright eval "requires_moe || context_length > 100000" -f requires_moe=false -f context_length=150000
    """
    from .evaluate import show_value

    show_value(expression, feature or [], policy, root, format)


@app.command()
def check(
    files: Annotated[
        list[Path],
        Argument(
            metavar="FILE", readable=False, help="Policies, catalogs, test files; or folders that hold them."
        ),
    ],
    format: TextFormat = "text",
    root: Root = None,
) -> None:
    """Show all problems of policies and of the files beside them.

    The content tells the kind of a file: policy, catalog, tests, samples, prompts, a saved question or
    a mapping of an import. Of a folder, all such files in it and below are checked, and other YAML files are passed
    over. A policy is checked with its catalog, a test file with its policy.

    For a file without problems, check lists what Routewright does not support yet, the keys and variables that the
    file may not use on this machine, and the servers on this machine whose models do not count as local. Exits with
    status 3 if there are problems.

    \b
    Example:
      routewright check policies/hybrid.yaml
      routewright check policies
    """
    from .check import check_and_print

    check_and_print(files, root, format)


@app.command()
@with_flags
def models(how: ModelsFlags) -> None:
    """List the models of a policy, and which of them are here.

    Backends are asked which models they have, and no model is loaded. A catalog can be named too; its backends are not
    asked. What is missing is named below, with the commands that fetch it.

    Where a backend says what is in memory, so does the list: what is loaded, what fits, what would have to go for a
    model, and how long loading it took of late. `--preload` has servers load what the catalog says (`preload: true`),
    and waits; models that run in a process of their own are loaded by the programs that use them.

    Exits with status 1 if no enabled model has the capability.

    \b
    Example:
      routewright models policies/hybrid.yaml --capability mixture_of_experts
    """
    from .models import show_models

    show_models(how)


@app.command()
@with_flags
def health(how: HealthFlags) -> None:
    """Check every backend, the presence of every model, and the breakers.

    No model is loaded. Models that are known to fail or to be slow are listed, and missing ones are named with the
    commands that fetch them. A model whose breaker is open is not called until the time that is shown.

    Exits with status 1 if a backend is not healthy or not usable (a key is missing or may not be used), a model is
    missing, or a breaker is not closed.

    \b
    Example:
      routewright health policies/hybrid.yaml
      routewright health policies/hybrid.yaml --close-breaker kimi-k2-cloud
    """
    from .health import show_health

    show_health(how)


@app.command()
@with_flags
def quota(how: QuotaFlags) -> None:
    """Show what is used and reserved of each quota.

    A quota for each team or user has a line for everyone who used some of it. Reserved is what running calls may
    still use. Exits with status 1 if nothing is left of a quota.

    \b
    Example:
      routewright quota policies/hybrid.yaml
    """
    from .quota import show_quotas

    show_quotas(how)


@app.command()
@with_flags
def rollout(how: RolloutFlags) -> None:
    """Show what the rule of a policy's canary says, and whether it has ended the canary.

    The rule is `abort_when` and `promote_when` of the policy's rollout. Gateways go by it themselves; this command
    judges the same decisions of the ledger now, and ends nothing. With --reset, a canary that has ended executes its
    share of the tasks again, and is judged by decisions from then on.

    Exits with status 1 if the canary was aborted.

    \b
    Example:
      routewright rollout hybrid.yaml
      routewright rollout hybrid.yaml --reset
    """
    from .rollout import show_rollout

    show_rollout(how)


@app.command()
def schema(
    kind: Annotated[
        Literal["policy", "catalog", "test"], Argument(metavar="KIND", help="Which kind of file.")
    ],
) -> None:
    """Print the JSON Schema of a kind of file.

    Editors complete and check a file whose first line names it:

    \b
      # yaml-language-server: $schema=policy.schema.json

    \b
    Example:
      routewright schema policy > policy.schema.json
    """
    from routewright.engine.policy import json_schema

    writer.json_value(json_schema(kind))


app.add_typer(ledger)


@ledger.command(cls=SqlCommand)
@with_flags
def sql(
    where: StatementFlags,
    how: SqlFlags,
    statement: Annotated[
        str | None,
        Argument(
            metavar="SQL",
            help="One SQL statement that reads; - reads it from standard input, and so does a pipe.",
        ),
    ] = None,
) -> None:
    """Ask the ledger in SQL.

    A statement can read the ledger and nothing else. Start from the views: decisions_flat, attempts_flat,
    routing_daily, model_latency, success_rate, fallback_frequency, cost_daily, unknown_features,
    rule_hits, quota_used, outcomes_flat, rollout_arms, and decisions_NAME for each policy, with its features.
    They hold real traffic; all_routing_daily and so on hold what was simulated or imported too.

    \b
    Example:
      routewright ledger sql "SELECT target, decisions FROM routing_daily"
      routewright ledger sql -f question.sql --param team=research --param n:=5
      routewright ledger sql "SELECT * FROM attempts_flat" -o attempts.parquet
    """
    from .sql import ask_and_print

    ask_and_print(statement, where, how)


@ledger.command("export")
@with_flags
def export(how: ExportFlags) -> None:
    """Write decisions and attempts into files.

    Into a folder goes a file for each view, by default decision_records.parquet and attempt_rows.parquet with every
    column. A period takes the decisions that were made in it and their attempts; of a view that counts by day, the
    days that it touches. Rows are written as they come, so that memory does not grow with them.

    With --log, another program can verify the ledger by what is written: docs/verifying.md defines the lines.

    \b
    Example:
      routewright ledger export -o ledger-export
      routewright ledger export --log -o log.jsonl
      routewright ledger export --view cost_daily -o cost.csv --since 30d
    """
    from .export import export_views

    export_views(how)


@ledger.command()
@with_flags
def tail(
    flags: TailFlags,
    count: Annotated[
        int, Option("--count", "-n", metavar="N", min=1, help="How many decisions to show.")
    ] = 10,
    follow: Annotated[
        bool, Option("--follow", "-f", help="Then show decisions as they end, until Ctrl-C.")
    ] = False,
    path: LedgerPath = None,
    format: TableFormat = "table",
) -> None:
    """Show the newest decisions.

    The oldest of them comes first. Each has its id for `ledger show` (on a terminal its beginning), its target, who
    answered, how long that took and what it cost. Those whose calls are under way are at the end; with --follow, their
    number is below the newest line. With --follow, JSON has one decision a line.

    \b
    Example:
      routewright ledger tail -n 5
      routewright ledger tail --status failed --since 24h
    """
    from .tail import print_tail

    print_tail(path, count, flags, follow=follow, format=format)


@ledger.command()
def show(
    id: Annotated[
        str | None,
        Argument(
            metavar="ID",
            help="The decision's id, or its beginning: `tail` and `run` print it.  [default: the newest decision]",
        ),
    ] = None,
    path: LedgerPath = None,
    format: TextFormat = "text",
) -> None:
    """Show one decision: why it was made, and what came of it.

    The explanation is computed again, from the record and from the policy's text as it was then, which is in the
    ledger. If that cannot be done, it is said why, and the record is shown alone.

    \b
    Example:
      routewright ledger show
    """
    from .show import show_decision

    show_decision(id, path, format)


@ledger.command()
def snapshot(
    file: Annotated[Path, Argument(metavar="FILE", readable=False, help="The file to write.")],
    path: LedgerPath = None,
) -> None:
    """Copy the ledger into a file for other clients.

    Open the copy, not the ledger itself, in a notebook, a BI tool or another DuckDB client: whoever has the ledger open
    keeps rows from being loaded. What waits is loaded first. An earlier snapshot is replaced, also while a client
    reads it; any other file is refused.

    \b
    Example:
      routewright ledger snapshot today.duckdb
      duckdb today.duckdb "SELECT target, sum(decisions) FROM routing_daily GROUP BY ALL"
    """
    from .snapshot import take_snapshot

    take_snapshot(file, path)


@ledger.command()
def checkpoint(
    output: Annotated[
        Path | None, FileOption("--output", "-o", help="Write the checkpoint into this file too.")
    ] = None,
    origin: Annotated[
        str | None,
        Option(
            metavar="NAME", help="Name the log, the first time: example.com/ledger. [default: a random name]"
        ),
    ] = None,
    key: Annotated[
        bool, Option("--key", help="Print the public key that checks the signature instead.")
    ] = False,
    for_witness: Annotated[
        int | None,
        Option(
            metavar="SIZE",
            min=0,
            help="Make a request to a witness that has cosigned so many leaves, at first 0.",
        ),
    ] = None,
    path: LedgerPath = None,
    force: Annotated[bool, Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Sign what the ledger's log is now, and print the signed checkpoint.

    Keep it where nobody who may write to the ledger can change it: on another machine, in a ticket, in a Git
    repository. `ledger verify --checkpoint FILE` then tells whether all that was recorded until now is still there. The
    key that signs is in the folder `keys` beside routewright.toml, and is made the first time.

    \b
    Example:
      routewright ledger checkpoint -o monday.checkpoint
    """
    from .verify import sign

    sign(path, output, origin, for_witness, key=key, force=force)


@ledger.command()
def verify(
    checkpoints: Annotated[
        list[Path] | None,
        FileOption("--checkpoint", "-c", help="A checkpoint that was kept elsewhere. Repeatable."),
    ] = None,
    since: Annotated[
        Path | None,
        FileOption(
            help="Compare only what came after this checkpoint: a file, `newest` for the one beside the ledger, or the "
            "size of one that a pruning has kept."
        ),
    ] = None,
    keys: Annotated[
        list[str] | None,
        Option(
            "--key",
            "-k",
            metavar="KEY",
            help="A public key that checks signatures, or a file that holds one. Repeatable.",
        ),
    ] = None,
    receipt: Annotated[
        Path | None, FileOption("--receipt", help="Check this receipt instead; no ledger is needed.")
    ] = None,
    path: LedgerPath = None,
    format: TextFormat = "text",
) -> None:
    """Tell whether everything that the ledger has recorded is still there, and unchanged.

    Each row is compared with its leaf in the ledger's log, each record with its digest, and the log with the checkpoint
    beside the ledger and those given. What differs is named, in the order of the log. Exits with status 1 if something
    does. Standard error says what could not be known.

    With --since, rows from before a checkpoint are not read, which takes less time; its signature and the whole log are
    checked all the same.

    \b
    Example:
      routewright ledger verify --checkpoint monday.checkpoint
      routewright ledger verify --since monday.checkpoint
      routewright ledger verify --receipt decision.tlog-proof --key example.com/ledger+1c2d3e4f+AaBb...
    """
    from .receipt import verify_receipt
    from .verify import verify_and_print

    if receipt is None:
        verify_and_print(path, checkpoints or [], since, keys or [], format)
    elif since is not None or checkpoints:
        raise typer.BadParameter(
            "a receipt has its own checkpoint and is checked without the ledger: whether another one agrees with that, "
            "only the ledger can tell, by `ledger verify --checkpoint FILE` without --receipt"
        )
    else:
        verify_receipt(receipt, keys or [], format)


@ledger.command()
def witness(
    request: Annotated[
        Path,
        Argument(metavar="FILE", readable=False, help="What `ledger checkpoint --for-witness` has written."),
    ],
    keys: Annotated[
        list[str],
        Option(
            "--key",
            "-k",
            metavar="KEY",
            help="The public key of the log, or a file that holds it. Repeatable.",
        ),
    ],
    name: Annotated[
        str, Option(metavar="NAME", help="The witness's own name: example.com/witness.")
    ] = "witness",
    output: Annotated[
        Path | None, FileOption("--output", "-o", help="Write the cosigned checkpoint into this file too.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Cosign a checkpoint of another machine's ledger.

    A witness signs only what begins with what it has cosigned before, which it remembers in the folder `witness` beside
    routewright.toml. So nobody can later show another history of that ledger without this machine's help. The cosigned
    checkpoint is printed; keep it, and give it to `ledger verify --checkpoint`.

    \b
    Example:
      routewright ledger witness request --key example.com/ledger+1c2d3e4f+AaBb...
    """
    from .verify import cosign_and_print

    cosign_and_print(request, keys, name, output, force=force)


@ledger.command()
def prove(
    id: Annotated[str, Argument(metavar="ID", help="The decision, by its id or the beginning of it.")],
    output: Annotated[Path, FileOption("--output", "-o", help="The file to write.")],
    attempt: Annotated[
        int | None, Option(metavar="N", min=1, help="Of this attempt of the decision, such as its cost.")
    ] = None,
    outcome: Annotated[
        str | None,
        Option(
            metavar="METRIC",
            help="Of what was found out about it: a metric, or the beginning of an outcome's id.",
        ),
    ] = None,
    path: LedgerPath = None,
    force: Annotated[bool, Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write a receipt: that a decision was in the ledger when the newest checkpoint was signed.

    It holds the decision's record, or all that is recorded of the attempt or outcome, so give it to those alone who may
    read that. Whoever has the public key checks it with `ledger verify --receipt`, without the ledger.

    \b
    Example:
      routewright ledger prove 019b76da -o decision.tlog-proof
      routewright ledger prove 019b76da --attempt 2 -o attempt.tlog-proof
    """
    from .receipt import write_receipt

    if attempt is not None and outcome is not None:
        raise typer.BadParameter("a receipt is of an attempt or of an outcome")
    write_receipt(path, id, attempt, outcome, output, force=force)


@ledger.command()
def erase(
    features: Annotated[
        list[str] | None,
        Option("--feature", metavar="NAME", help="Erase the values of this feature, declared or ignored."),
    ] = None,
    decisions: Annotated[
        list[str] | None,
        Option("--decision", metavar="ID", help="Of this decision, by its id or the beginning of it."),
    ] = None,
    users: Annotated[
        list[str] | None,
        Option("--user", metavar="USER", help="Of this user: a tag, feature or metadata `user`."),
    ] = None,
    where: Annotated[
        str | None,
        Option(metavar="SQL", help="Of decisions that fit: a condition on columns of `all_decisions_flat`."),
    ] = None,
    reason: Annotated[
        str | None, Option(metavar="TEXT", help="Why, which is put on record with the erasure.")
    ] = None,
    snapshots: Annotated[
        list[Path] | None, FileOption("--snapshot", help="Take this snapshot of the ledger anew afterwards.")
    ] = None,
    finish: Annotated[
        bool,
        Option(
            "--finish", help="Complete an erasure or a pruning that was cut short, and erase nothing more."
        ),
    ] = False,
    yes: Annotated[bool, Option("--yes", help="Erase. Without it, only say what would be erased.")] = False,
    path: LedgerPath = None,
) -> None:
    """Erase values of features, or whole decisions, from every byte of the ledger's files.

    Without --feature, decisions are erased with all that came of them: verdicts, plan, calls, outcomes; their id and
    digest are left. With it the values are, and what followed from them stays: the rule may tell what a value was.

    `ledger verify` says then that it was erased. The file is written anew, which takes its room once more.

    \b
    Example:
      routewright ledger erase --feature patient --user ada --reason "asked on 3 May" --yes
      routewright ledger erase --decision 019b76da --yes
    """
    from routewright.ledger import ToErase

    from .erase import erase as erase_and_print

    named = (features, decisions, users, where)
    if finish is any(one is not None for one in named):
        raise typer.BadParameter(
            "--feature, --decision, --user or --where is needed, or --finish without any of them"
        )
    what = None if finish else ToErase(features or (), decisions or (), users or (), where, reason)
    erase_and_print(path, what, snapshots or (), yes=yes)


@ledger.command()
def prune(
    before: Annotated[
        str | None,
        Option(metavar="MONTH", help="Drop what was decided before this month began, in UTC: 2026-08."),
    ] = None,
    keep: Annotated[
        int | None,
        Option(
            metavar="MONTHS",
            min=1,
            help="Or keep so many months before the present one, and the present one.",
        ),
    ] = None,
    reason: Annotated[
        str | None, Option(metavar="TEXT", help="Why, which is put on record with the pruning.")
    ] = None,
    snapshots: Annotated[
        list[Path] | None, FileOption("--snapshot", help="Take this snapshot of the ledger anew afterwards.")
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only say what would be dropped, as without --yes.")
    ] = False,
    yes: Annotated[bool, Option("--yes", help="Prune. Without it, only say what would be dropped.")] = False,
    path: LedgerPath = None,
) -> None:
    """Drop old months: decisions, their calls and outcomes, and what was imported of that time.

    First a checkpoint is signed that covers what goes, and kept for good; and what goes is compared with the log. The
    leaves of dropped rows stay in the log, so that older checkpoints and receipts remain valid, and `ledger verify`
    tells what was pruned from what somebody has deleted.

    The file is written anew without the rows, which takes its room once more for a while. A decision counts by the
    time when it was made, and one that is under way stays.

    \b
    Example:
      routewright ledger prune --keep 12
      routewright ledger prune --before 2026-08 --yes
    """
    from .prune import prune as prune_and_print

    if (before is None) is (keep is None):
        raise typer.BadParameter("either --before or --keep is needed")
    if dry_run and yes:
        raise typer.BadParameter("--dry-run changes nothing, and --yes does")
    prune_and_print(path, before, keep, reason, snapshots or (), yes=yes)


@ledger.command("import")
def import_(
    source: Annotated[
        Literal["litellm", "agentgateway", "langfuse", "otel", "calls", "table"] | None,
        Argument(metavar="SOURCE", help="Whose log it is (see above).", show_default=False),
    ] = None,
    files: Annotated[
        list[Path] | None,
        Argument(metavar="FILE", readable=False, help="The log; several become one import."),
    ] = None,
    name: Annotated[
        str | None,
        Option(
            metavar="NAME", help="What the import is called.  [default: that of the mapping or the source]"
        ),
    ] = None,
    map: Annotated[Path | None, FileOption(help="A mapping, for the source table.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Read the files, and store nothing.")] = False,
    remove: Annotated[str | None, Option(metavar="NAME", help="Remove an import whole.")] = None,
    path: LedgerPath = None,
    format: TextFormat = "text",
) -> None:
    """Import what another router has logged.

    Sources: litellm (the table LiteLLM_SpendLogs as CSV, JSON, JSON lines or Parquet), agentgateway (its SQLite
    request log), langfuse (observations as JSON or JSON lines), otel (spans of generative AI as OTLP JSON), calls
    (our own shape: CSV, JSON, JSON lines or Parquet), table (any table that a mapping describes).

    What a source does not say stays unknown. Rows that are there already change nothing, so that a file can be
    imported again. Imported rows are in the views whose names begin with `all_`, under the name of the import, and in
    no other.

    Exits with status 1 if some rows could not be read, or were imported before with other values; the others are
    there.

    \b
    Example:
      routewright ledger import litellm spend.csv --dry-run
      routewright ledger import table results.jsonl --map results.yaml --name benchmark
      routewright ledger import --remove benchmark
    """
    from .imports import import_files, remove_import

    if remove is not None:
        if source or files or name or map or dry_run:
            raise typer.BadParameter("--remove stands alone")
        remove_import(path, remove, format)
    elif source is None or not files:
        raise typer.BadParameter("a source and a file are needed, or --remove")
    else:
        import_files(path, source, files, name, map, dry_run=dry_run, format=format)


@ledger.command()
def imports(path: LedgerPath = None, format: TableFormat = "table") -> None:
    """List the imports.

    \b
    Example:
      routewright ledger imports
    """
    from .imports import print_imports

    print_imports(path, format)


@ledger.command()
def outcome(
    decision_id: Annotated[
        str | None,
        Argument(
            metavar="DECISION_ID", help="The decision: its id, or the beginning of it, as in `ledger tail`."
        ),
    ] = None,
    found: Annotated[
        list[str] | None,
        Argument(metavar="METRIC=VALUE", help="What was found: a number, true, false or a label."),
    ] = None,
    file: Annotated[
        Path | None, FileOption(help="A file of outcomes: CSV, JSON, JSON lines or Parquet.")
    ] = None,
    attempt: Annotated[
        int | None, Option(metavar="N", min=1, help="Of this attempt of the decision.")
    ] = None,
    model: Annotated[str | None, Option(metavar="MODEL", help="Of what this model said.")] = None,
    source: Annotated[
        str | None, Option(metavar="TEXT", help="Who found it out.  [default: that of the file, else manual]")
    ] = None,
    path: LedgerPath = None,
) -> None:
    """Record what was found out about an answer: scores and labels.

    A value that looks like a number is one; in double quotes it is a label ('version="2"'). An outcome with the same
    metric and source corrects the one before, which stays in the ledger.

    A row of a --file has a column decision_id and either the columns metric and value, or a column for each metric.
    It may have attempt, model, source and time (ISO 8601). All of a file is recorded, or nothing.

    \b
    Example:
      routewright ledger outcome 01928f3e-7c00-7000-8000-00000000002a score=0.8 helpful=true
      routewright ledger outcome --file scores.csv --source reviewers
    """
    from .outcome import record

    if (file is None) != (decision_id is not None and bool(found)) or (file is not None and decision_id):
        raise typer.BadParameter("a decision's id with METRIC=VALUE is needed, or --file")
    if file is not None and (attempt or model):
        raise typer.BadParameter("a --file says in each row which attempt or model it is of")
    record(path, decision_id, found or [], file, attempt, model, source)


@ledger.command()
@with_flags
def ask(
    which: QuestionFlags,
    how: SqlFlags,
    name: Annotated[
        str | None, Argument(metavar="NAME", help="The question; without one, all questions are listed.")
    ] = None,
    given: Annotated[
        list[str] | None, Argument(metavar="NAME=VALUE", help="Parameters of the question, as with --param.")
    ] = None,
    param: Annotated[
        list[str] | None,
        Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the question. Repeatable."),
    ] = None,
    sql: Annotated[
        bool, Option("--sql", help="Print the question's statement instead of asking it.")
    ] = False,
) -> None:
    """Ask a question by its name: what was slow, what fell back, what it cost.

    Without a name the questions are listed. Among those that come with Routewright are an operator's of a morning:
    slow, fell-back, cost, private and policy-change. Your own are YAML files in a folder `questions` beside your
    policy, or in the folders that routewright.toml names; `routewright check` checks them.

    \b
    Example:
      routewright ledger ask
      routewright ledger ask cost
      routewright ledger ask latency by=team since=24h
    """
    from .ask import ask_saved

    ask_saved(name, [*(given or []), *(param or [])], sql, which, how)


@ledger.command()
def stats(
    since: Since = "7d",
    by: Annotated[
        Literal["model", "team", "user", "rule", "day"], Option(help="A row for each of these.")
    ] = "model",
    simulated: Simulated = False,
    timezone: Timezone = "UTC",
    path: LedgerPath = None,
    format: TextFormat = "text",
) -> None:
    """Show latency, success, fallbacks and cost at a glance.

    Each is the answer of a question of that name: `ledger ask latency`, success, fallbacks or cost asks it alone, in
    other forms too. Simulated runs are not counted.

    \b
    Example:
      routewright ledger stats --since 24h --by team
    """
    from .stats import print_stats

    print_stats(path, since, by, simulated=simulated, timezone=timezone, format=format)


@ledger.command()
@with_flags
def report(
    output: Annotated[Path, FileOption("--output", "-o", help="The file to write.")],
    which: QuestionFlags,
    since: Since = "7d",
    timezone: Timezone = "UTC",
    title: Annotated[str | None, Option(metavar="TEXT", help="The page's title.")] = None,
    path: LedgerPath = None,
    force: Annotated[bool, Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the ledger's metrics and questions as a page of HTML.

    The page needs nothing else: its charts are in it, and it has no script. Your own questions are on it too, with
    their default parameters.

    \b
    Example:
      routewright ledger report -o report.html --since 30d --force
    """
    from .report import write_report

    write_report(output, path, since, title, which, timezone=timezone, force=force)
