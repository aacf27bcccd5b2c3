"""Tables of what changed in gold itself: what the gold inputs' own change feeds say since the last build is looked at, and rows are added."""

from __future__ import annotations

from deltalake import DeltaTable
from typing_extensions import override

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.contract import feed_view
from mg_lakehouse.gold.history import ids_of_gold, make_feed, versions_of_gold
from mg_lakehouse.gold.model import Model, Plan
from mg_lakehouse.gold.scopes.ground import Scope
from mg_lakehouse.lake.sql import identifier, text

__all__ = ["ChangesOfGold"]


class ChangesOfGold(Scope):
    """The model's SQL reads ``feed_<input>``: the rows that went and came.

    A table begins without rows: what was before it is not known. The same holds of an input that was made anew, or whose log was cut.
    """

    @override
    def plan(self, model: Model) -> Plan:
        handles = {each.name: self._facts.needed(each.name, model.name).handle for each in model.gold}
        ids, now = ids_of_gold(handles), versions_of_gold(handles)
        own = self._facts.gold_handle(model.name)
        begins = own is None or not gold.same_schema(own, model.spec)
        made = None if own is None or begins else gold.watermarks_of(own, ids, list(ids))
        schema = self._views.schema(model.schema)
        for name, handle in handles.items():
            make_feed(self._cursor(), f"{schema}.{identifier(feed_view(name))}", name, handle, None if made is None else made.silver)
        self._facts.note_ids(ids)
        if made is None:
            return Plan(model, "full", own, now, schema=schema)
        is_new = f"build_id = {text(self._ground.build_id)}"
        return Plan(model, "unchanged" if made.silver == now else "incremental", own, now, schema=schema, predicate=is_new)

    @override
    def made(self, plan: Plan, handle: DeltaTable) -> str:
        return f"from {self._facts.source(handle)} where {plan.predicate}"
