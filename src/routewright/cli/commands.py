"""Every command: its arguments, its options and its help. What it does is loaded when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from .options import (
    AskFlags,
    DecideFlags,
    Features,
    FileOption,
    HealthFlags,
    LedgerPath,
    ModelsFlags,
    PolicyPath,
    QuotaFlags,
    Root,
    RunFlags,
    StatementFlags,
    TableFormat,
    TaskFlags,
    TextFormat,
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
    epilog="Exit status: 0 ok, 1 a check failed, 2 usage, 3 invalid policy or condition, 4 no eligible target, "
    "5 backend failed, 6 ledger or state store refused, 74 output not written, 130 stopped by Ctrl-C "
    "(129 and 143: SIGHUP and SIGTERM), 141 whoever read the output is gone.",
)

ledger = typer.Typer(name="ledger", no_args_is_help=True, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        from routewright import __version__

        writer.text(f"routewright {__version__}")
        raise typer.Exit


_READING = frozenset({"show", "sql", "tail"})
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
    if context.invoked_subcommand != ledger.info.name:
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

    The content tells the kind of a file: policy, catalog, tests, samples or prompts. Of a folder, all such files in it
    and below are checked, and other YAML files are passed over. A policy is checked with its catalog, a test file with
    its policy.

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
    how: AskFlags,
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
    rule_hits, quota_used, rollout_arms, and decisions_NAME for each policy, with its features.
    They hold real traffic; all_routing_daily and so on hold what was simulated too.

    \b
    Example:
      routewright ledger sql "SELECT target, decisions FROM routing_daily"
      routewright ledger sql -f question.sql --param team=research --param n:=5
    """
    from .sql import ask_and_print

    ask_and_print(statement, where, how)


@ledger.command()
def tail(
    count: Annotated[
        int, Option("--count", "-n", metavar="N", min=1, help="How many decisions to show.")
    ] = 10,
    path: LedgerPath = None,
    format: TableFormat = "table",
) -> None:
    """Show the newest decisions.

    The oldest of them comes first. Each has its target, who answered, how long that took and what it cost.

    \b
    Example:
      routewright ledger tail -n 5
    """
    from .ledger import print_newest

    print_newest(path, count, format)


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
