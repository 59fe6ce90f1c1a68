"""The two sections of params.yaml that say how critiques and revisions are asked for."""

from typing import Literal

from pydantic import Field

from cai.method.revision import Asking, Form
from cai.params import Generates


class Critique(Generates):
    """The ``critique`` section."""

    enabled: bool
    form: Form
    demonstrations: int = Field(ge=0)


class Revise(Generates):
    """The ``revise`` section."""

    rounds: int = Field(ge=1, le=4)
    form: Form
    demonstrations: int = Field(ge=0)
    show_critique: bool
    principles: Literal["pairs", "independent"]


def asking(critique: Critique, revise: Revise, seed: int) -> Asking:
    """Both sections as the one description that the method takes."""
    return Asking(
        critique_form=critique.form,
        critique_demonstrations=critique.demonstrations,
        revision_form=revise.form,
        revision_demonstrations=revise.demonstrations,
        principles=revise.principles,
        critique=critique.enabled,
        show_critique=revise.show_critique,
        seed=seed,
    )
