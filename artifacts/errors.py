"""Errors that a user can mend: one sentence each, naming what, where and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Something given by the user cannot be used; the message is one sentence for the user."""


class ArtifactError(InputError):
    """A file or an array does not fit its ArtifactSpec."""
