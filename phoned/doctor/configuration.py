"""Is the configuration readable, and are the secrets that it names ours alone?"""

from __future__ import annotations

from collections.abc import Callable

from phoned.config.load import LoadedConfig
from phoned.config.report import ConfigError
from phoned.config.secrets import BadSecret
from phoned.doctor.chain import Chain
from phoned.doctor.parts import Patient
from phoned.doctor.surroundings import off_loop

DEADLINE_S = 5.0
CHECK_CONFIG = "mend the lines that are named; 'phoned check-config' shows all of them"


async def check(chain: Chain, load: Callable[[], LoadedConfig]) -> Patient | None:
    """The checks ``configuration`` and ``secrets``; the phone that is configured, when all of it holds together."""

    def read() -> tuple[LoadedConfig, Patient]:
        loaded = load()
        return loaded, Patient.of(loaded)

    try:
        loaded, patient = await off_loop(read, DEADLINE_S)
    except ConfigError as error:
        _tell(chain, error)
        return None
    except BadSecret as error:
        chain.passed("every value can be used")
        chain.failed(error.detail, error.fix)
        return None
    except TimeoutError:
        chain.failed(f"not read within {DEADLINE_S:g} s", "see whether the disk of the configuration hangs")
        return None
    except OSError as error:
        chain.failed(str(error), "make the file readable for the user that phoned runs as")
        return None
    notes = "".join(f"; {warning}" for warning in loaded.warnings)
    chain.passed(", ".join(str(file.absolute()) for file in loaded.files) + notes)
    secrets = sum(account.password is not None for account in patient.accounts)
    chain.passed(f"{secrets} of {len(patient.accounts)} accounts have a password, which others cannot read")
    return patient


def _tell(chain: Chain, error: ConfigError) -> None:
    """What is wrong with the values comes first: a file may be bad only because its name is."""
    values = [str(problem) for problem in error.problems if problem.secret_fix is None]
    if values:
        fix = "run 'phoned init', or name a file with --config" if error.absent else CHECK_CONFIG
        chain.failed("; ".join(values), fix)
        return
    chain.passed("every value can be used")
    fixes = (problem.secret_fix for problem in error.problems if problem.secret_fix)
    chain.failed("; ".join(map(str, error.problems)), "; ".join(dict.fromkeys(fixes)))
