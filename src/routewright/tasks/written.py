"""The one reader of tasks: what flags, JSON lines, samples and test cases say becomes a task and its request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import Field

from routewright.backends.executing import Request
from routewright.engine.decision import SESSION, RequestFacts, Task
from routewright.engine.policy import CaseTask, Shape
from routewright.engine.report import TaskError

from .json_text import shape_of_text
from .requests import check_operation, request_for

_EXAMPLE = 'one JSON object such as {"features": {"complexity": 0.9}}'


class WrittenTask(CaseTask):
    """A task as people write it: what is decided about, and what is needed to execute it."""

    name: str | None = None
    session: str | None = None
    system: str | None = None
    prompt: str | None = None
    documents: list[str] = Field(default_factory=list)
    temperature: float | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    trace: str | None = Field(default=None, min_length=1)


class Samples(Shape):
    """A file of sample tasks."""

    tasks: list[WrittenTask] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Attached:
    """What a task's files hold. Only flags name files: a line of JSON may come from anybody."""

    images: tuple[bytes, ...] = ()
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AskedTask:
    """A task, and the request to execute it with: None where no prompt is written."""

    name: str
    task: Task
    request: Request | None
    tags: Mapping[str, str] = field(default_factory=dict)
    trace_id: str | None = None


def parse_task(text: str) -> WrittenTask:
    """The task in a JSON object. Raises TaskError with all that is wrong with it."""
    return shape_of_text(text, WrittenTask, "task", _EXAMPLE)


def asked_by(
    written: WrittenTask,
    attached: Attached = Attached(),  # noqa: B008  # frozen
    *,
    spelled: Callable[[str], str] = "`{}`".format,
) -> AskedTask:
    """The task and the request that are written; ``spelled`` writes a key as its author did.

    The request needs a prompt. Without one, the task still knows what its request will have. Raises TaskError for
    what its operation has no use for, for two sessions, and for what no request can hold.
    """
    task = task_from(written)
    # Numbers of tools and images are facts: nothing is sent for them.
    sent = written.model_dump(include={"system", "temperature", "max_output_tokens", "documents"})
    sent |= {"image": attached.images, "json_schema": attached.json_schema}
    check_operation(task.operation, sent, spelled)
    if written.session is not None:
        if SESSION in task.request.metadata:
            raise TaskError("the session is given twice: by itself, and in the metadata")
        task = replace(
            task,
            request=replace(task.request, metadata={**task.request.metadata, SESSION: written.session}),
        )
    if written.prompt is None:
        facts = task.request
        images = len(attached.images) or facts.images
        has_schema = True if attached.json_schema is not None else facts.json_schema
        task = replace(task, request=replace(facts, images=images, json_schema=has_schema))
        return AskedTask(written.name or "", task, None, written.tags, written.trace)
    request = request_for(
        task,
        written.prompt,
        written.documents,
        system=written.system,
        images=attached.images,
        temperature=written.temperature,
        json_schema=attached.json_schema,
    )
    return AskedTask(written.name or "", task, request, written.tags, written.trace)


def task_from(written: CaseTask) -> Task:
    """The task that is decided about, without its request."""
    facts = {name: getattr(written, name) for name in _FACTS}
    return Task(
        features=dict(written.features),
        operation=written.operation,
        request=RequestFacts(**facts, metadata=dict(written.metadata)),
        pin=written.pin,
        draw=written.draw,
    )


_FACTS: Final = [
    name for name in RequestFacts.__dataclass_fields__ if name in CaseTask.model_fields and name != "metadata"
]
