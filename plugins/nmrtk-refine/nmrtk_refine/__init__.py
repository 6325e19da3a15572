"""A generator of candidates that searches the isomers of a formula."""

from nmrtk import Component, hookimpl


@hookimpl
def candidate_generators() -> list[Component]:
    """Search by annealing, steered by tables distilled from the model."""
    return [
        Component(
            "refine",
            "nmrtk_refine.refine:RefineGenerator",
            "isomers of the formula, found by annealing with tables distilled from the model",
        )
    ]
