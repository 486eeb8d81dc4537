"""The role of every column of the log: label, time, features and what must never become one."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from ctr_pipeline.config_types import Section


class ContextColumn(Section):
    """A column that is logged with the impression but chosen by the page, such as the position."""

    kind: Literal["numeric", "native"] = Field("numeric", description="how the column is encoded")
    pinned: float | int | str | None = Field(
        None,
        description="the value that every row gets when it is scored; null scores it as missing",
    )

    @model_validator(mode="after")
    def _pinned_fits(self) -> Self:
        if self.kind == "numeric" and isinstance(self.pinned, str):
            raise ValueError(f"pinned == {self.pinned!r}, must be a number or null for kind numeric; use kind native")
        return self


class Columns(Section):
    """The role of every column that the pipeline reads; others are digested, not used, but of plain types too."""

    label: str = Field("click", description="1 for a click, 0 for none")
    time: str | None = Field(None, description="when the impression was shown")
    time_format: Literal["auto", "iso", "s", "ms", "us", "yymmddhh"] = Field(
        "auto",
        description="how `time` is written: typed or ISO text (auto, iso), epochs in s, ms or us, or YYMMDDHH",
    )
    user: str | None = Field(None, description="whom the impression was shown to; intervals are clustered by it")
    group: str | None = Field(None, description="request or query; grouped AUC ranks within it (else within a user)")
    numeric: tuple[str, ...] = Field((), description="numbers, missing values kept")
    categorical: tuple[str, ...] = Field((), description="categories of any number, encoded by target statistics")
    native: tuple[str, ...] = Field((), description="categories of few values, handed to XGBoost as such")
    context: Mapping[str, ContextColumn] = Field(
        {}, description="columns trained on as logged, scored at a pinned value"
    )
    propensity: str | None = Field(None, description="the logging policy's probability; never a feature")
    ids: tuple[str, ...] = Field((), description="identifiers that must never become features")

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that features are made of, in the order of the settings."""
        return (*self.numeric, *self.categorical, *self.native, *self.context)

    @property
    def used(self) -> tuple[str, ...]:
        """Every column with a role, the label first, without nulls."""
        named = (self.label, self.time, self.user, self.group, self.propensity)
        return (*(name for name in named if name is not None), *self.features, *self.ids)

    @model_validator(mode="after")
    def _roles_are_apart(self) -> Self:
        if self.label in self.features:
            raise ValueError(f"the label {self.label!r} is listed among the features; take it out of them")
        for role, name in (("user", self.user), ("group", self.group), ("time", self.time)):
            if name == self.label:
                raise ValueError(
                    f"the label {self.label!r} is the {role} too; give {role} a column of its own, or null"
                )
        # The user and the group may be features too: "this user clicks often" is what target statistics are for.
        exclusive = (self.label, *self.features, *self.ids, *filter(None, (self.propensity,)))
        twice = [name for name, count in Counter(exclusive).items() if count > 1]
        if twice:
            raise ValueError(f"column {twice[0]!r} is listed twice; give each column one role")
        if self.time is not None and self.time in self.features:
            raise ValueError(f"the time column {self.time!r} is listed twice; features.time_parts makes features of it")
        return self
