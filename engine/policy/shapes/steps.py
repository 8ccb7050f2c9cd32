"""The steps around an answer: which keys each takes.

A step is a class here, a field of ``Step`` with its name, the module ``backends/executing/steps/NAME.py``, which
carries it out, and its prompts in ``policies/prompts.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

from pydantic import Field

from .base import ModelRef, Shape


class StepBody(Shape):
    """What every step says: the model that does it, and whether work may go on without it."""

    holds_for_pins: ClassVar[bool] = False
    """Whether a task that names its model gets the step all the same."""

    with_: ModelRef = Field(alias="with")
    required: bool = Field(
        False, description="whether a candidate is refused if the step's model is not eligible"
    )

    def options(self) -> dict[str, Any]:
        """What it says beside that."""
        return self.model_dump(by_alias=True, exclude={"with_", "required"})


class Draft(StepBody):
    """A model prepares; its output is context for the answer."""


class Verify(StepBody):
    """Another model reviews the answer."""

    on_reject: Literal["annotate", "retry", "escalate"] = Field(
        "annotate",
        description="what to do with a rejected answer; `escalate` asks the next fallback",
    )


class Refine(StepBody):
    """Another model improves the answer."""

    rounds: int = Field(1, ge=1, le=10, description="how often")


class Screen(StepBody):
    """A safety model looks at the prompt or the answer; flagged work is refused."""

    # Whoever names a model does not waive what keeps work safe.
    holds_for_pins = True

    on: Literal["prompt", "answer", "both"] = Field("prompt", description="what is screened")
    # Unscreened work must not go on in silence when the safety model is away.
    required: bool = Field(
        True, description="whether a candidate is refused if the step's model is not eligible"
    )


class Step(Shape):
    """Exactly one step around the answer."""

    screen: Screen | None = Field(None, description="a safety model screens; flagged work is refused")
    draft: Draft | None = Field(None, description="a model prepares material")
    verify: Verify | None = Field(None, description="a model reviews the answer")
    refine: Refine | None = Field(None, description="a model improves the answer")


STEPS: Final[Mapping[str, type[StepBody]]] = {
    name: get_args(field.annotation)[0] for name, field in Step.model_fields.items()
}
"""The class of each step, by its name."""

if TYPE_CHECKING:
    Role = str
else:
    Role = Literal[tuple(STEPS)]
