"""How gold's models are kept up to date: a class for each scope."""

from __future__ import annotations

from collections.abc import Mapping

from mg_lakehouse.gold import contract
from mg_lakehouse.gold.scopes.additions import Additions
from mg_lakehouse.gold.scopes.changes_of_gold import ChangesOfGold
from mg_lakehouse.gold.scopes.ground import Ground, Scope, Views, Write
from mg_lakehouse.gold.scopes.refreshed import Days, Jobs, SilverDays, Whole

__all__ = ["Ground", "Scope", "Views", "Write", "scopes_of"]


def scopes_of(ground: Ground) -> Mapping[contract.Scope, Scope]:
    """The scopes of a build, by their names in a model's configuration."""
    whole = Whole(ground)
    return {
        "requests": Jobs(ground),
        "days": Days(ground),
        "event_days": SilverDays(ground, "event_date"),
        "received_days": SilverDays(ground, "received_date"),
        "whole": whole,
        "static": whole,
        "additions": Additions(ground),
        "changes": ChangesOfGold(ground),
    }
