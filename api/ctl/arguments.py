"""Arguments and options that many commands of `phonectl` have."""

from __future__ import annotations

from typing import Annotated

import typer

from api.ctl import complete

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, and errors as JSON on stderr.")]
Call = Annotated[
    str | None,
    typer.Argument(
        help="The call's id; may be left out when only one call fits.",
        autocompletion=complete.calls,
        show_default=False,
    ),
]
AnyCall = Annotated[
    str | None,
    typer.Argument(
        help="The call's id; may be left out when only one call fits.",
        autocompletion=complete.every_call,
        show_default=False,
    ),
]
AccountName = Annotated[str, typer.Argument(help="The account's id.", autocompletion=complete.accounts)]
FromAccount = Annotated[
    str | None,
    typer.Option("--account", help="The account; may be left out when there is one.", autocompletion=complete.accounts),
]
