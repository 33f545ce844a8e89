"""The command ``likeness``: what people type, each part documented by its own ``--help``."""

from __future__ import annotations

import sys
from importlib import import_module

from artifacts.step import run_step

# Module and meaning of each command; modules have Options and main, like every step. They are imported when they are needed:
# help comes at once.
COMMANDS = {
    "doctor": ("likeness.doctor", "is this machine ready for a configuration"),
    "demo": ("likeness.demo", "everything once, on a clip that comes along"),
    "run": ("likeness.run", "make what a configuration asks for (Snakemake)"),
    "render": ("avatar_models.render", "render an avatar that is there already"),
    "explain": ("evaluation.explain", "what stands behind a number of a table"),
    "export": ("preprocessing.export", "write a fitted clip in the layout of another tool"),
}


def usage() -> str:
    """What there is."""
    lines = [f"  {name:8}{meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(
        ["usage: likeness COMMAND ...", "", *lines, "", "likeness COMMAND --help says more.", ""]
    )


def main() -> None:
    """Run the command that the first word names."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return
    if words[0] not in COMMANDS:
        sys.exit(f"error: there is no command {words[0]!r}; choose one of {', '.join(COMMANDS)}")
    module = import_module(COMMANDS[words[0]][0])
    sys.argv = [f"likeness {words[0]}", *words[1:]]
    run_step(module.Options, module.main)


if __name__ == "__main__":
    main()
