"""All commands as one: faults in one line with an exit status, and the nearest of known names."""

import errno
import shlex
import sys
from typing import Any, NoReturn

import click

from compressor.errors import CompressorError
from compressor.overrides import near

DISK_FULL = "Free some space."
NOT_WRITABLE = "Give another place, or mend its permissions."
MACHINE_FAULTS = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EACCES: NOT_WRITABLE,
    errno.EPERM: NOT_WRITABLE,
    errno.EROFS: NOT_WRITABLE,
    errno.EIO: "The disk is failing: use another one.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`).",
}
"""What the system may refuse at any moment, and what to do about it."""


class Named(click.Group):
    """Answers an unknown command with the nearest of its own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first of ``args`` names.

        Raises:
            UsageError: There is none; the message has the nearest, or all.
        """
        word = args[0]
        # Completion asks about words that are not finished; options have an error of their own.
        if not ctx.resilient_parsing and word[:1] != "-" and word not in self.commands:
            names = sorted(self.commands)
            raise click.UsageError(f"No such command {word!r}. {near(word, names)}", ctx)
        return super().resolve_command(ctx, args)


class Commands(Named):
    """Turns what users can cause into one line and an exit status; bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CompressorError as failure:
            _leave(ctx, str(failure), failure.exit_status)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as failure:
            place = failure.ctx.command_path if failure.ctx else "compressor"
            _leave(ctx, f"{failure.format_message()} See `{place} --help`.", failure.exit_code)
        except KeyboardInterrupt:
            _leave(ctx, f"Stopped.{self._again(ctx)}", 1)
        except OSError as failure:
            if failure.errno not in MACHINE_FAULTS:
                raise
            advice = MACHINE_FAULTS[failure.errno]
            place = failure.filename or "the current folder"
            reason = (failure.strerror or "cannot be written").lower()
            _leave(ctx, f"{place}: {reason}. {advice}{self._again(ctx)}", 1)

    def _again(self, ctx: click.Context) -> str:
        """How to go on with the run that was stopped, as the end of a message; empty if none."""
        folder = ctx.find_root().obj
        if folder is None:
            return ""
        words = ["compressor", *sys.argv[1:]]
        named = any(word == "--out" or word.startswith("--out=") for word in words)
        words += [] if named else ["--out", folder]
        command = self.commands.get(ctx.invoked_subcommand or "")
        resumes = command is not None and any("--resume" in o.opts for o in command.params)
        words += ["--resume"] if resumes and "--resume" not in words else []
        return f" Finished stages are kept; go on with: {shlex.join(words)}"


def _leave(ctx: click.Context, message: str, status: int) -> NoReturn:
    click.echo(message, err=True)
    ctx.exit(status)
