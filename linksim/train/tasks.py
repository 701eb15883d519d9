"""Training tasks by name; each is imported when a recipe asks for it."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from linksim.errors import ComponentError, UnknownNameError

if TYPE_CHECKING:
    from linksim.train.task import Task

# The recipe's `model` -> module:Class. A third party's task is named as module:Class in the recipe.
TASKS = {
    "ntc": "linksim.train.ntc_task:NtcTask",
    "ntc-perceptual": "linksim.train.ntc_perceptual_task:NtcPerceptualTask",
    "dsc": "linksim.train.dsc_task:DscTask",
    "dsc-decoder": "linksim.train.dsc_task:DscDecoderTask",
    "dsc-prior": "linksim.train.dsc_task:DscPriorTask",
    "tokens": "linksim.train.tokens_task:TokensTask",
    "tokens-perceptual": "linksim.train.tokens_task:TokensPerceptualTask",
    "token-prior": "linksim.train.token_prior_task:TokenPriorTask",
    "ntscc": "linksim.train.ntscc_task:NtsccTask",
    "ntscc-perceptual": "linksim.train.ntscc_perceptual_task:NtsccPerceptualTask",
    "ntscc-update": "linksim.train.ntscc_update_task:NtsccUpdateTask",
    "deepjscc": "linksim.train.ntscc_update_task:NtsccUpdateTask",
}


def task_class(model: str) -> type[Task]:
    """The task class of a recipe's ``model``.

    Args: model: a name of ``TASKS``, or "module:Class".
    Raises: UnknownNameError, ComponentError: no such name; not a task.
    """
    from linksim.train.task import Task

    if model not in TASKS and ":" not in model:
        near = difflib.get_close_matches(model, TASKS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UnknownNameError(
            f"model must be one of {sorted(TASKS)} or module:Class, got {model!r}{hint}"
        )
    module, _, name = TASKS.get(model, model).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ComponentError(f"model {model!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ComponentError(f"model {model!r} is not a subclass of linksim.train.task.Task")
    return found
