"""The columns that every generated row carries."""

from cai.llm.model import Completion, Request


def generated(completion: Completion, request: Request, model: str) -> dict[str, object]:
    """The GENERATION columns of one row: who wrote it, how, how it ended, what it cost in tokens."""
    return {
        "model": model,
        "sampling": request.sampling.digest(),
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "error": completion.error,
    }


def not_asked(reason: str) -> dict[str, object]:
    """The GENERATION columns of a row that no model was asked for, with the reason."""
    return {
        "model": "none",
        "sampling": "none",
        "finish_reason": "error",
        "prompt_tokens": None,
        "completion_tokens": None,
        "error": reason,
    }
