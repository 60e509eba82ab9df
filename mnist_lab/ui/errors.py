"""What the user can mend, told apart from what is our fault."""

from __future__ import annotations


class Refused(ValueError):
    """A request that cannot be met as it stands: one or two lines for the user, exit code 2.

    The message names the setting or file, the value found, what is allowed and what to do.
    """


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, as far as it fits into a line; else its name.

    A line that ends in a colon has its reason in the next one.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


class Failed(RuntimeError):
    """A run that began and could not end well: exit code 1.

    Args:
        reason: the short word that status.json keeps, such as "nan" or "disk".
        message: what happened, with the numbers that help to find out why.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[Failed], tuple[str, str]]:
        """For another process, whose exceptions are rebuilt from their arguments."""
        return Failed, (self.reason, str(self))
