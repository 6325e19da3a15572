"""A trained model of 13C spectra."""

from nmrtk import Component, hookimpl


@hookimpl
def pretrained_models() -> list[Component]:
    """The model that `nmrtk predict` and `nmrtk elucidate` use unless told otherwise."""
    return [
        Component(
            "13c",
            "nmrtk_model_13c.model:Carbon13Model",
            "13C lines and code of molecules, trained on nmrshiftdb2",
        )
    ]
