"""A gated message-passing encoder in plain torch."""

from nmrtk import Component, hookimpl


@hookimpl
def structure_encoders() -> list[Component]:
    """The network of the shipped models."""
    return [
        Component(
            "mpnn",
            "nmrtk_mpnn.encoder:MpnnEncoder",
            "gated message passing over bonds; shifts of atoms, features of molecules",
        )
    ]
