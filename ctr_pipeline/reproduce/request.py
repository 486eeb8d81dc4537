"""What is asked of a reproduction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ctr_pipeline.config import Settings
from tracking.errors import InputError

type Preprocessing = Literal["refit", "freeze"]

LATEST: Final = "latest"
# Settings that the frozen encoder and booster have followed from.
_FITTED: Final = ("features.", "train.", "data.columns.")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be redone, and what is to be put in place of what was recorded.

    Attributes:
        run_id: an id of the run, of one of its steps or of the execution.
        start: folder of the project.
        argv: the command's arguments, for the record.
        use_current_env: run the steps in this process's environment.
        use_current_code: run the code as it is in the project now.
        use_current_data: read the run's own input as it is now, in place of the pinned copy.
        current_settings: settings of today's configuration in place of the recorded ones; None keeps those.
        data: other data: `latest`, a URI or a pinned data version; None for the run's own.
        preprocess: on other data, whether everything is fitted again, or encoder and model stay as they were.
        overrides: `key=value` texts laid over the run's settings.
        store: where pinned data are looked for first.
        check_only: look everything up, compute nothing.
    """

    run_id: str
    start: Path
    argv: tuple[str, ...] = ()
    use_current_env: bool = False
    use_current_code: bool = False
    use_current_data: bool = False
    current_settings: Settings | None = None
    data: str | None = None
    preprocess: Preprocessing = "refit"
    overrides: tuple[str, ...] = ()
    store: str | None = None
    check_only: bool = False

    def __post_init__(self) -> None:
        if self.use_current_data and self.data is not None:
            raise InputError(
                f"--use-current-data and --data {self.data} exclude each other: the first judges the run's own input "
                "as it is now, the second runs on other data; give one"
            )
        if self.preprocess == "freeze" and self.data is None:
            raise InputError("--preprocess freeze needs other data to score; give --data latest, a URI or a version")
        for override in self.overrides:
            if self.preprocess == "freeze" and override.startswith(_FITTED):
                raise InputError(
                    f"--set {override} has no effect on a frozen model; leave it out, or give --preprocess refit"
                )
