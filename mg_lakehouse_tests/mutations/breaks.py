"""The breaks. Each was once, or could be, a change that no test saw; the tests named beside it must turn red.

``text`` occurs once in ``file``, and ``instead`` takes its place. Tests are named as pytest does, near ones that take seconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["BREAKS", "Break"]


class Break(NamedTuple):
    """One break: what is no longer so, where, and who must see it."""

    name: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]


_BRONZE: Final = "mg_lakehouse_tests/bronze/test_append.py"
_DRAIN: Final = "mg_lakehouse_tests/bronze/test_event_feed.py"
_SILVER: Final = "mg_lakehouse_tests/silver/test_update.py"
_KNOWN: Final = "mg_lakehouse_tests/silver/test_known_ids.py"
_ASIDE: Final = "mg_lakehouse_tests/silver/test_set_aside.py"
_GROWTH: Final = "mg_lakehouse_tests/lake/test_growth.py"
_PATHS: Final = "mg_lakehouse_tests/lake/test_paths.py"
_REPAIR: Final = "mg_lakehouse_tests/maintenance/test_repair.py"
_RECONCILE: Final = "mg_lakehouse_tests/audit/test_hourly_balance.py"
_MAINTENANCE: Final = "mg_lakehouse_tests/maintenance/test_run.py"
_GOLD: Final = "mg_lakehouse_tests/gold/test_commit.py"
_PREDICATE: Final = "mg_lakehouse_tests/gold/test_predicate.py"
_SINKS: Final = "mg_lakehouse_tests/util/test_escaping.py"
_FOLDERS: Final = "mg_lakehouse_tests/util/test_temp_folders.py"
_LEFT: Final = "mg_lakehouse_tests/cli/test_leftovers.py"
_SURROUNDINGS: Final = "mg_lakehouse_tests/cli/test_surroundings.py"
_MODES: Final = "mg_lakehouse_tests/lake/test_modes.py"
_UNREPORTED: Final = "mg_lakehouse_tests/dagster/test_unreported.py"

BREAKS: Final = (
    # Every item that begins in a body is somewhere.
    Break(
        "the strict reader skips an item",
        "mg_lakehouse/events/strict/reader.py",
        "for index, (name, node) in enumerate(bundle.items):\n",
        "for index, (name, node) in enumerate(bundle.items[1:]):\n",
        ("mg_lakehouse_tests/events/test_starts.py::test_no_item_begins_that_the_readers_do_not_place",),
    ),
    Break(
        "the fast reader skips an item without a word",
        "mg_lakehouse/events/fast/reader.py",
        "rows, cells = _rows(scanned)\n",
        "rows, cells = ({table: frame.slice(1) for table, frame in half.items()} for half in _rows(scanned))\n",
        ("mg_lakehouse_tests/events/test_starts.py::test_no_item_begins_that_the_readers_do_not_place",),
    ),
    Break(
        "a body with an item that is not well-formed is not cut",
        "mg_lakehouse/events/fast/reader.py",
        "broken.add(pieces[0].body)",
        "pass",
        ("mg_lakehouse_tests/events/test_plain.py::test_an_item_that_is_not_well_formed_costs_only_itself",),
    ),
    Break(
        "the first reading of a body that was cut stays beside the second",
        "mg_lakehouse/events/fast/reader.py",
        "_joined(_without(reading, positions), _at(cut, positions))",
        "_joined(reading, _at(cut, positions))",
        ("mg_lakehouse_tests/events/test_plain.py::test_an_item_that_is_not_well_formed_costs_only_itself",),
    ),
    Break(
        "only the first bundle of a response is visited",
        "mg_lakehouse/events/strict/reader.py",
        "if child_name in ENVELOPES:",
        "if child_name in ENVELOPES and not self.is_one:",
        ("mg_lakehouse_tests/events/test_envelopes.py::test_every_bundle_of_a_response_is_read",),
    ),
    Break(
        "what falls short of the count is not seen in the ledger",
        "mg_lakehouse/lake/ledger.py",
        "return 0 if self.counted is None else self.counted - self.items",
        "return 0",
        ("mg_lakehouse_tests/audit/test_item_coverage.py::test_an_item_that_is_in_no_row_and_no_reject_blocks_gold_and_fails_the_books",),
    ),
    Break(
        "rejects of text stand in for items that are nowhere",
        "mg_lakehouse/events/flatten.py",
        'rejections.filter(begins)["message"]',
        'rejections["message"]',
        ("mg_lakehouse_tests/audit/test_item_coverage.py::test_what_a_reader_overlooks_is_a_reject_of_its_message_and_balances",),
    ),
    Break(
        "items are cut out of JSON",
        "mg_lakehouse/events/formats/envelopes.py",
        'raise _RefusedError(f"JSON that is no envelope and holds no XML',
        'return None, json.dumps(value)[json.dumps(value).find("<") :]\n    raise _RefusedError(f"JSON that is no envelope and holds no XML',
        ("mg_lakehouse_tests/events/test_envelopes.py::test_a_body_without_xml_is_one_reject_that_says_what_it_is",),
    ),
    Break(
        "a gzip unpacks as far as it goes",
        "mg_lakehouse/events/formats/unpacking.py",
        "        if limit < 0:\n            raise TooFarError\n",
        "",
        ("mg_lakehouse_tests/events/test_envelopes.py::test_a_body_without_xml_is_one_reject_that_says_what_it_is",),
    ),
    Break(
        "a gzip that is a file unpacks as far as it goes",
        "mg_lakehouse/events/formats/unpacking.py",
        "if unpacks_too_far(self._taken, self._given) or (self._at_most is not None and self._given > self._at_most):",
        "if False:",
        ("mg_lakehouse_tests/bronze/test_loaded_files.py::test_what_is_no_file_of_the_feed_is_one_sentence_and_no_content",),
    ),
    Break(
        "a row of CSV that does not fit is one without a time",
        "mg_lakehouse/events/strict/extract.py",
        "if item.element == TORN_ROW:",
        "if False:",
        ("mg_lakehouse_tests/events/test_csv_feed.py::test_a_row_that_does_not_fit_its_header_is_a_reject_that_says_so",),
    ),
    Break(
        "a header that names no id is read",
        "mg_lakehouse/events/formats/csv.py",
        'if "ActivityId" not in named:',
        "if False:",
        ("mg_lakehouse_tests/events/test_csv_feed.py::test_a_header_that_leaves_open_what_is_meant_is_refused",),
    ),
    Break(
        "one control character costs an opt-out",
        "mg_lakehouse/events/strict/reader.py",
        'legal = _REFERENCE.sub(_legal_reference, _ILLEGAL.sub("", item))',
        "legal = item",
        ("mg_lakehouse_tests/events/test_flatten.py::test_an_item_with_a_character_that_xml_may_not_hold_is_read_without_it",),
    ),
    Break(
        "a display name makes another person",
        "mg_lakehouse/gold/addresses.py",
        "        plain = named[1]\n",
        "        pass\n",
        ("mg_lakehouse_tests/gold/test_opt_outs.py::test_no_way_to_write_an_address_makes_another_person",),
    ),
    Break(
        "what stands between the bundles of a file is passed over",
        "mg_lakehouse/events/formats/xml_file.py",
        "if not text.strip() or not (self._inside or self._is_more_than_head(text)):",
        "if not text.strip() or not self._inside:",
        ("mg_lakehouse_tests/bronze/test_loaded_files.py::test_what_stands_between_bundles_is_a_reject_and_costs_none_of_them",),
    ),
    # Deleting only after the commit, and with the handle that deletes.
    Break(
        "the oldest receipt handle deletes",
        "mg_lakehouse/bronze/event_feed.py",
        "if message.receive_count >= self._latest.get(message.message_id, (0, ''))[0]:".replace("''", '""'),
        "if message.message_id not in self._latest:",
        (f"{_DRAIN}::test_a_message_received_twice_is_deleted_by_its_newest_handle",),
    ),
    Break(
        "the last receipt handle to arrive deletes",
        "mg_lakehouse/bronze/event_feed.py",
        'if message.receive_count >= self._latest.get(message.message_id, (0, ""))[0]:',
        "if True:",
        (f"{_DRAIN}::test_a_message_received_twice_is_deleted_by_its_newest_handle",),
    ),
    Break(
        "messages are deleted before their commit",
        "mg_lakehouse/bronze/event_feed.py",
        "        receipt = append_batch(",
        "        self._deletes.start({self._latest[message][1]: handles for message, handles in self._handles.items()})\n"
        "        self._deletes.settle()\n"
        "        receipt = append_batch(",
        (f"{_DRAIN}::test_nothing_is_deleted_before_it_is_committed",),
    ),
    Break(
        "a body that does not match its checksum is taken",
        "mg_lakehouse/sources/sqs.py",
        "return expected is None or hashlib.md5(body, usedforsecurity=False).hexdigest() == expected",
        "return True",
        (f"{_DRAIN}::test_a_body_that_was_damaged_on_the_way_stays_in_the_queue",),
    ),
    Break(
        "what failed to delete is forgotten",
        "mg_lakehouse/sources/deletes.py",
        "return Deleted(len(handles) - len(remaining), len(remaining))",
        "return Deleted(len(handles), 0)",
        (f"{_DRAIN}::test_a_message_that_could_not_be_deleted_comes_again_and_is_absorbed",),
    ),
    # Committed means on disk, and a damaged table is refused.
    Break(
        "a commit is not synced before its messages are deleted",
        "mg_lakehouse/lake/commit.py",
        "        make_durable(handle)\n        checkpoint(handle, since=version)",
        "        checkpoint(handle, since=version)",
        ("mg_lakehouse_tests/faults/test_power_cuts.py::test_what_a_commit_names_is_on_disk_before_its_messages_are_deleted",),
    ),
    Break(
        "an empty entry of a log is a commit of nothing",
        "mg_lakehouse/lake/damage.py",
        '        return "empty"\n    try:\n        actions_of(content)',
        "        return None\n    try:\n        actions_of(content)",
        (f"{_REPAIR}::test_a_batch_that_was_being_written_does_not_take_the_place_of_the_lost_one",),
    ),
    Break(
        "a batch that silver has read is committed anew",
        "mg_lakehouse/maintenance/repair.py",
        "    versions = dict(zip(reversed(known),",
        "    versions = dict(zip(known[:0],",
        (f"{_REPAIR}::test_a_batch_that_was_being_written_does_not_take_the_place_of_the_lost_one",),
    ),
    Break(
        "a backfill removes rows whose messages bronze lost",
        "mg_lakehouse/silver/rebuild.py",
        "    _refuse_without_bronze(lake, day, removed, what)\n",
        "",
        ("mg_lakehouse_tests/silver/test_rebuild.py::test_rows_whose_message_bronze_has_not_are_never_removed",),
    ),
    # The commit protocol.
    Break(
        "bronze has no fencing lane",
        "mg_lakehouse/bronze/append.py",
        "transactions = (Transaction(LANE, fence + 1), Transaction(marker, 1, last_updated=int(time.time() * 1000)))",
        "transactions = (Transaction(marker, 1, last_updated=int(time.time() * 1000)),)",
        (f"{_BRONZE}::test_a_commit_in_between_makes_the_other_look_again",),
    ),
    Break(
        "silver has no fencing lane",
        "mg_lakehouse/silver/commit.py",
        "transactions = (Transaction(part.app, part.high), Transaction(_LANE, fence + 1))",
        "transactions = (Transaction(part.app, part.high),)",
        (f"{_SILVER}::test_two_sources_that_flatten_one_activity_at_once_give_one_row",),
    ),
    Break(
        "silver keeps no progress",
        "mg_lakehouse/silver/commit.py",
        "return Append(lacking, (Transaction(part.app, part.high),), None, ledger.metadata())",
        "return Append(lacking, (), None, ledger.metadata())",
        (f"{_SILVER}::test_only_what_is_new_is_flattened",),
    ),
    Break(
        "a batch whose answer was lost is not known again",
        "mg_lakehouse/bronze/append.py",
        "if handle.transaction_version(marker) is not None:",
        "if False:",
        (
            f"{_BRONZE}::test_an_answer_lost_after_the_commit_landed_does_not_commit_twice",
            f"{_BRONZE}::test_the_same_batch_again_adds_nothing_and_reports_the_same",
        ),
    ),
    Break(
        "an overtaken slice of an event table goes on",
        "mg_lakehouse/silver/commit.py",
        "        if part.is_cut_by(has):\n            raise SliceOvertakenError\n        lacking = among",
        "        lacking = among",
        (f"{_SILVER}::test_a_slice_that_another_run_overtook_is_cut_anew",),
    ),
    Break(
        "an overtaken slice of rejects goes on",
        "mg_lakehouse/silver/commit.py",
        "        if part.is_cut_by(has):\n            raise SliceOvertakenError\n        lacking = rows",
        "        lacking = rows",
        (f"{_SILVER}::test_a_slice_of_rejects_that_another_run_overtook_is_cut_anew",),
    ),
    Break(
        "rejects say that a slice is done before its tables have it",
        "mg_lakehouse/silver/commit.py",
        "    part, messages, flattened, unread = read\n    results",
        "    part, messages, flattened, unread = read\n    _commit_rejected(lake, read, flattened.rejected, 0)\n    results",
        (f"{_SILVER}::test_a_run_that_dies_between_two_tables_is_resumed_without_loss_or_copy",),
    ),
    Break(
        "a replacement lands behind a compaction that it did not see",
        "mg_lakehouse/lake/commit.py",
        "max_commit_retries=None if replacement.others_may_commit else 0",
        "max_commit_retries=None",
        (f"{_GOLD}::test_a_compaction_in_between_costs_another_try",),
    ),
    Break(
        "a build overwrites another build's newer rows",
        "mg_lakehouse/gold/commit.py",
        "        if made:\n            raise OvertakenError(",
        "        if False:\n            raise OvertakenError(",
        (f"{_GOLD}::test_a_build_in_between_is_never_overwritten",),
    ),
    Break(
        "a gold commit whose answer was lost is made twice or refused",
        "mg_lakehouse/gold/commit.py",
        "        if commit_id in made:\n",
        "        if False:\n",
        (f"{_GOLD}::test_a_commit_whose_answer_is_lost_is_known_as_its_own",),
    ),
    # One row for each activity.
    Break(
        "another source's copy with other content is a conflict",
        "mg_lakehouse/events/dedupe.py",
        'on=("activity_id", "source"), how="semi"',
        'on="activity_id", how="semi"',
        (f"{_SILVER}::test_a_copy_from_another_source_is_a_duplicate_whatever_it_says",),
    ),
    Break(
        "which copy stays hangs on the order of reading",
        "mg_lakehouse/events/dedupe.py",
        "ordered = rows if _in_order(rows) else rows.sort(*_RECEIVED, nulls_last=False)",
        "ordered = rows",
        ("mg_lakehouse_tests/events/test_dedupe.py",),
    ),
    Break(
        "a row that an earlier try committed counts as a copy",
        "mg_lakehouse/events/dedupe.py",
        '.join(existing, on=_ITSELF, how="anti")',
        "",
        ("mg_lakehouse_tests/events/test_dedupe.py", f"{_SILVER}::test_a_conflict_found_before_a_crash_is_still_reported_after_it"),
    ),
    Break(
        "a copy is looked for near its time only",
        "mg_lakehouse/silver/known_ids.py",
        '        near = data_files(self.handle, "event_at").filter(meets("event_at", spans))["address"]',
        '        near = data_files(self.handle, "event_at").filter(meets("event_at", spans[:1]))["address"]',
        (f"{_KNOWN}::test_a_row_is_found_however_far_its_time_is_and_whatever_its_source",),
    ),
    Break(
        "what a killed run committed is not known",
        "mg_lakehouse/silver/known_ids.py",
        "    newer = handle.version() - version\n",
        "    newer = 0\n",
        (
            f"{_KNOWN}::test_a_run_killed_at_any_point_leaves_no_copy_unknown",
            f"{_KNOWN}::test_a_copy_is_known_whatever_became_of_the_files",
        ),
    ),
    Break(
        "what was known of lost versions is trusted",
        "mg_lakehouse/silver/known_ids.py",
        "_committed_ms(handle, runs[-1].last) != runs[-1].at",
        "_committed_ms(handle, runs[-1].last) is None",
        (f"{_KNOWN}::test_a_table_that_was_restored_does_not_trust_what_was_known_of_its_lost_versions",),
    ),
    Break(
        "ids are taken for those of versions that a log no longer has",
        "mg_lakehouse/silver/known_ids.py",
        " < newer:\n        return None",
        " < 0:\n        return None",
        (f"{_KNOWN}::test_a_copy_is_known_whatever_became_of_the_files",),
    ),
    Break(
        "a file of known ids that was cut short is whole",
        "mg_lakehouse/silver/id_entries.py",
        "return run if run is not None and size == run.entries * ENTRY_BYTES else None",
        "return run",
        (f"{_KNOWN}::test_a_copy_is_known_whatever_became_of_the_files",),
    ),
    Break(
        "a run commits behind a rebuild that it did not see",
        "mg_lakehouse/lake/commit.py",
        "max_commit_retries=None if append.others_may_commit else 0",
        "max_commit_retries=None",
        (f"{_KNOWN}::test_a_run_that_adds_a_copy_while_a_rebuild_adds_its_row_looks_again",),
    ),
    Break(
        "a rebuild does not look at what came while it committed",
        "mg_lakehouse/silver/rebuild.py",
        '        _look_again(handle, committed, added["activity_id"], what)\n',
        "        pass\n",
        (f"{_KNOWN}::test_a_rebuild_that_adds_a_row_while_its_copy_comes_gives_way",),
    ),
    Break(
        "the same instant with another offset is another content",
        "mg_lakehouse/events/dedupe.py",
        'frozenset({"utc_offset_minutes"})',
        "frozenset()",
        (f"{_KNOWN}::test_the_same_instant_with_another_offset_is_a_duplicate",),
    ),
    Break(
        "the newest rows are not looked at for ids that occur twice",
        "mg_lakehouse/audit/uniqueness.py",
        "stream = handle.load_cdf(above + 1, handle.version(),",
        "stream = handle.load_cdf(above + 2, handle.version(),",
        (f"{_SILVER}::test_an_id_that_occurs_twice_is_seen_among_the_new_rows_and_in_the_whole_table",),
    ),
    Break(
        "an id that occurs twice passes",
        "mg_lakehouse/audit/uniqueness.py",
        'filter(pl.col("len") > 1)',
        'filter(pl.col("len") > 2)',
        (f"{_SILVER}::test_an_id_that_occurs_twice_is_seen_among_the_new_rows_and_in_the_whole_table",),
    ),
    # The books.
    Break(
        "the books of two sources are added up into one",
        "mg_lakehouse/audit/hourly_balance.py",
        "wrong = sum(source.unbalanced_sources or not source.balances for source in (self, other))",
        "wrong = 0",
        (f"{_RECONCILE}::test_what_one_source_lacks_is_not_made_up_by_what_another_has_twice",),
    ),
    Break(
        "a third source forgets that the first two did not balance",
        "mg_lakehouse/audit/hourly_balance.py",
        "wrong = sum(source.unbalanced_sources or not source.balances for source in (self, other))",
        "wrong = sum(source.messages_missing != 0 or source.items_missing != 0 for source in (self, other))",
        (f"{_RECONCILE}::test_books_of_three_sources_remember_each_that_did_not_balance",),
    ),
    Break(
        "a batch of exchanged messages balances",
        "mg_lakehouse/audit/hourly_balance.py",
        "if whole and ids_digest(ids_of_batch.get(batch.ledger.batch_id, [])) != batch.ledger.ids:",
        "if False:",
        (f"{_RECONCILE}::test_a_message_that_was_exchanged_is_seen_by_the_digest_alone",),
    ),
    Break(
        "conservation believes the ledger against Delta",
        "mg_lakehouse/audit/conservation.py",
        "return self.difference == 0 and not self.miscounted and not self.unbalanced_sources",
        "return self.difference == 0 and not self.unbalanced_sources",
        (f"{_SILVER}::test_conservation_shows_a_lost_row",),
    ),
    Break(
        "conservation of two sources forgets who miscounted",
        "mg_lakehouse/audit/conservation.py",
        "tuple(dict.fromkeys((*self.miscounted, *other.miscounted))),",
        "self.miscounted,",
        (f"{_SILVER}::test_conservation_of_two_sources_holds_where_each_does",),
    ),
    Break(
        "items that one source lost are made up by another's copies",
        "mg_lakehouse/audit/conservation.py",
        "sum(source.unbalanced_sources or source.difference != 0 for source in (self, other)),",
        "0,",
        (f"{_SILVER}::test_conservation_of_two_sources_holds_where_each_does",),
    ),
    # What gold's engine builds, tests and leaves alone.
    Break(
        "a model is built though what it is made of failed",
        "mg_lakehouse/gold/engine.py",
        "if ancestors & self._failed or any(",
        "if any(",
        ("mg_lakehouse_tests/gold/test_incremental.py::test_a_build_that_died_between_two_models_is_resumed",),
    ),
    Break(
        "what two threads finish at once loses tests",
        "mg_lakehouse/gold/engine.py",
        "ready = [test for test in self._waiting if not test.models & others]",
        "ready = [test for test in self._waiting if not test.models & others][1:]",
        ("mg_lakehouse_tests/gold/test_project.py::test_a_build_reports_every_model_and_every_test",),
    ),
    Break(
        "a failed test passes",
        "mg_lakehouse/gold/engine.py",
        'if fails and test.severity == "error":',
        "if False:",
        ("mg_lakehouse_tests/gold/test_project.py::test_the_tests_find",),
    ),
    Break(
        "a contract that is not kept is committed",
        "mg_lakehouse/gold/engine.py",
        "if made != (declared := dict(node.columns)):",
        "if not made and (declared := dict(node.columns)):",
        ("mg_lakehouse_tests/gold/test_project.py::test_a_column_that_is_not_in_the_contract_is_an_error_that_names_it",),
    ),
    Break(
        "a changed model does not rebuild what is made of it",
        "mg_lakehouse/gold/project.py",
        "*(str(found[each.name]) for each in model.gold),",
        "",
        ("mg_lakehouse_tests/gold/test_project.py::test_a_change_is_one_of_what_depends_on_it_and_of_nothing_else",),
    ),
    Break(
        "a changed seed rebuilds nothing",
        "mg_lakehouse/gold/project.py",
        "*(file.read_bytes() for file in node.seeds),",
        "",
        ("mg_lakehouse_tests/gold/test_project.py::test_a_change_is_one_of_what_depends_on_it_and_of_nothing_else",),
    ),
    Break(
        "another business time zone rebuilds nothing",
        "mg_lakehouse/gold/project.py",
        "\"'business_timezone'\": business_timezone,",
        "",
        ("mg_lakehouse_tests/gold/test_project.py::test_the_time_zone_and_the_key_are_part_of_what_depends_on_them",),
    ),
    # What the models of a build share, and what a growing table writes.
    Break(
        "an event that is told otherwise stays beside itself",
        "mg_lakehouse/gold/scopes/refreshed.py",
        "return [Write(found.replacing_rows, predicate, state.silver), adds] if predicate else [adds]",
        "return [adds]",
        (
            "mg_lakehouse_tests/gold/test_growing.py::test_a_job_is_replaced_where_an_event_of_it_is_told_otherwise_now_and_the_others_are_added_to",
        ),
    ),
    Break(
        "a build that died between two commits is not resumed",
        "mg_lakehouse/gold/scopes/refreshed.py",
        "Write(found.replacing_rows, predicate, state.silver)",
        "Write(found.replacing_rows, predicate, plan.included)",
        ("mg_lakehouse_tests/gold/test_growing.py::test_a_build_that_died_between_the_replacement_and_the_addition_is_resumed",),
    ),
    Break(
        "rows that were made for other keys are taken for these",
        "mg_lakehouse/gold/facts.py",
        "and kept.keys.change == keys.change:",
        "and True:",
        ("mg_lakehouse_tests/gold/test_incremental.py",),
    ),
    Break(
        "jobs that changed by time alone are left out",
        "mg_lakehouse/gold/keys.py",
        "if more is None or not self._has_others(more, known, with_days=with_days):",
        "if True:",
        ("mg_lakehouse_tests/gold/test_incremental.py", "mg_lakehouse_tests/gold/test_scope.py"),
    ),
    # What gold replaces, and what its makers may still need.
    Break(
        "rows of no job are replaced on all days",
        "mg_lakehouse/gold/model.py",
        'f"(request_id IS NULL AND {_delta_day(model.orphan_day, days)})"',
        '"(request_id IS NULL)"',
        (f"{_PREDICATE}::test_a_refresh_replaces_the_rows_of_its_keys_and_no_others",),
    ),
    Break(
        "rows of a job are replaced on the days of what belongs to none",
        "mg_lakehouse/gold/model.py",
        'f"(request_id IS NULL AND {_delta_day(model.orphan_day, days)})"',
        "_delta_day(model.orphan_day, days)",
        (f"{_PREDICATE}::test_a_refresh_replaces_the_rows_of_its_keys_and_no_others",),
    ),
    Break(
        "all jobs between two touched ones are replaced",
        "mg_lakehouse/lake/sql.py",
        "AND {column} IN ({', '.join(map(text, ordered))}))\"",
        'AND {column} IS NOT NULL)"',
        (f"{_PREDICATE}::test_a_refresh_replaces_the_rows_of_its_keys_and_no_others",),
    ),
    Break(
        "a key with a quote ends the predicate",
        "mg_lakehouse/lake/sql.py",
        """return "'" + value.replace("'", "''") + "'\"""",
        """return "'" + value + "'\"""",
        (f"{_PREDICATE}::test_a_refresh_replaces_the_rows_of_its_keys_and_no_others",),
    ),
    Break(
        "an instant before midnight belongs to the next day",
        "mg_lakehouse/_util/dates.py",
        "return first, moved(_in_utc(datetime.combine(day + timedelta(days=1), time(), zone), LAST_MOMENT), -timedelta(microseconds=1))",
        "return first, _in_utc(datetime.combine(day + timedelta(days=1), time(), zone), LAST_MOMENT)",
        (f"{_PREDICATE}::test_a_refresh_replaces_the_rows_of_its_keys_and_no_others",),
    ),
    Break(
        "what silver has not read is not held",
        "mg_lakehouse/maintenance/retention.py",
        'return _hold("silver", bronze, silver_progress(lake, bronze))',
        "return None",
        (f"{_MAINTENANCE}::test_what_silver_has_not_flattened_is_never_removed",),
    ),
    Break(
        "files that a reader needs go with the days alone",
        "mg_lakehouse/maintenance/retention.py",
        "ages = [keep, *(now - hold.rows_at + _MARGIN for hold in holds if hold.rows_at is not None)]",
        "ages = [keep]",
        (f"{_MAINTENANCE}::test_what_silver_has_not_flattened_is_never_removed",),
    ),
    Break(
        "log entries that a reader needs go with the days alone",
        "mg_lakehouse/maintenance/retention.py",
        "        if hold.commit_at <= oldest:\n            return hold",
        "        if False:\n            return hold",
        (f"{_MAINTENANCE}::test_what_silver_has_not_flattened_is_never_removed",),
    ),
    Break(
        "a model that is up to date holds, one that lags does not",
        "mg_lakehouse/maintenance/retention.py",
        "    if unread <= 0:\n        return None",
        "    if unread > 0:\n        return None",
        (f"{_MAINTENANCE}::test_what_silver_has_not_flattened_is_never_removed",),
    ),
    # Text of others.
    Break(
        "Slack reads mentions in a job's name",
        "mg_lakehouse/_util/escaping.py",
        'return _EMOJI.sub(":\\u2060", cut.translate(_ENTITIES))',
        "return cut",
        (f"{_SINKS}::test_slack_reads_no_mention_no_link_and_no_emoji",),
    ),
    Break(
        "a formula reaches the spreadsheet",
        "mg_lakehouse/lake/rows_out.py",
        "for_csv(str(value))",
        "str(value)",
        (f"{_SINKS}::test_every_law_holds_of_the_corpus",),
    ),
    Break(
        "a phone number is no longer found on the list",
        "mg_lakehouse/_util/escaping.py",
        "    if _ADDRESS.fullmatch(cell):\n        return cell\n",
        "",
        (f"{_SINKS}::test_a_cell_that_calls_nothing_stays_to_the_letter",),
    ),
    Break(
        "controls reach the terminal",
        "mg_lakehouse/_util/console.py",
        "return super().render_str(for_terminal(text), **options)",
        "return super().render_str(text, **options)",
        (f"{_SINKS}::test_every_law_holds_of_the_corpus",),
    ),
    Break(
        "names of files are markup",
        "mg_lakehouse/_util/console.py",
        "markup=False, emoji=False",
        "markup=True, emoji=True",
        (f"{_SINKS}::test_names_are_no_markup",),
    ),
    Break(
        "settings of the SQL prompt can be changed",
        "mg_lakehouse/serving/sandbox/answer.py",
        '    connection.execute("set lock_configuration = true")\n',
        "",
        ("mg_lakehouse_tests/security/test_sql_walls.py::test_settings_are_locked_where_nobody_reads_the_statement",),
    ),
    # A catalogue that grows.
    Break(
        "an older release writes rows that lack a column",
        "mg_lakehouse/lake/tables.py",
        "if unknown := [name for name in existing if name not in spec.schema]:",
        "if unknown := []:",
        (f"{_GROWTH}::test_an_older_release_writes_nothing_and_says_why",),
    ),
    Break(
        "a copy of what an older catalogue read is a conflict",
        "mg_lakehouse/silver/commit.py",
        "    return pl.concat([copies, reread(copies, table)])",
        "    return copies",
        (f"{_GROWTH}::test_copies_of_what_an_older_release_read_are_copies_and_no_conflicts",),
    ),
    Break(
        "files of before a column are read as if they had it",
        "mg_lakehouse/lake/lake.py",
        '            missing_columns="insert",',
        '            missing_columns="raise",',
        (f"{_GROWTH}::test_backfill_fills_the_column_of_the_days_before_and_nothing_else",),
    ),
    # One odd message never stops the others, and is counted.
    Break(
        "a year that no calendar has is a time",
        "mg_lakehouse/events/strict/cast.py",
        '_YEAR: Final = "(?:19|20|21)[0-9]{2}"',
        '_YEAR: Final = "[0-9]{4}"',
        ("mg_lakehouse_tests/events/test_calendar.py::test_what_comes_behind_it_is_flattened",),
    ),
    Break(
        "a failure of the machine sets messages aside",
        "mg_lakehouse/events/culprits.py",
        "_OF_THE_MACHINE: Final = (MemoryError, OSError, LakehouseError)",
        "_OF_THE_MACHINE: Final = ()",
        (f"{_ASIDE}::test_a_failure_of_the_machine_sets_nothing_aside",),
    ),
    Break(
        "a failure that came once sets messages aside",
        "mg_lakehouse/events/culprits.py",
        "        if not kept or _fails(kept, work) != reason:",
        "        if not kept:",
        ("mg_lakehouse_tests/events/test_culprits.py::test_a_failure_that_does_not_come_again_leaves_nobody_out",),
    ),
    Break(
        "items that are set aside are in no account",
        "mg_lakehouse/silver/commit.py",
        '"set_aside": set_aside,',
        '"set_aside": 0,',
        (f"{_ASIDE}::test_the_rest_of_the_slice_goes_on",),
    ),
    Break(
        "what an earlier try left out of a table is forgotten",
        "mg_lakehouse/silver/commit.py",
        "            left_out = pl.concat([left_out, among.kept])\n",
        "",
        (f"{_ASIDE}::test_a_run_killed_at_any_commit_is_gone_on_with",),
    ),
    Break(
        "duplicates of what was set aside are in no account",
        "mg_lakehouse/silver/rebuild.py",
        "            retried.found(table, rows, kept, conflicts)",
        "            pass",
        (f"{_ASIDE}::test_retried_they_are_rows_rejects_and_duplicates_and_the_books_balance",),
    ),
    # A path is text.
    Break(
        "addresses of files stay URLs",
        "mg_lakehouse/location.py",
        "    return unquote(uri.removeprefix(_FILE))\n",
        "    return uri.removeprefix(_FILE)\n",
        (f"{_PATHS}::test_where_the_lake_is_counts_and_not_how_it_is_written",),
    ),
    Break(
        "names of files are patterns to DuckDB",
        "mg_lakehouse/lake/sql.py",
        "file.translate(_PATTERN) for file in files",
        "file for file in files",
        (f"{_PATHS}::test_a_name_is_no_pattern_that_finds_a_copy_too",),
    ),
    # What is kept of dagster-dbt's work is that work.
    Break(
        "specs that were kept lose what a model depends on",
        "mg_lakehouse/dagster/dbt_specs.py",
        """{"deps": _fields(spec.deps)}""",
        """{"deps": []}""",
        ("mg_lakehouse_tests/dagster/test_dbt_specs.py::test_what_is_kept_gives_the_same_specs",),
    ),
    Break(
        "specs that were cut short keep the definitions from loading",
        "mg_lakehouse/dagster/dbt_specs.py",
        "suppress(OSError, ValueError)",
        "suppress(OSError)",
        ("mg_lakehouse_tests/dagster/test_dbt_specs.py::test_a_file_that_was_cut_short_is_made_anew",),
    ),
    # What a process leaves, whom a lake is for, and what it is told.
    Break(
        "a living process's folder is removed",
        "mg_lakehouse/_util/temp_folders.py",
        """                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
""",
        """                shutil.rmtree(path, ignore_errors=True)
""",
        (f"{_FOLDERS}::test_a_folder_outlives_its_owners_kill_until_the_next_is_made",),
    ),
    Break(
        "only leftovers of the same purpose are looked for",
        "mg_lakehouse/_util/temp_folders.py",
        "tuple(map(_NAME.format, get_args(Purpose)))",
        "(_NAME.format(purpose),)",
        (f"{_FOLDERS}::test_what_dead_processes_left_is_removed_whatever_it_was_for_and_what_is_a_persons_own_stays",),
    ),
    Break(
        "a dry run makes the table that it looks for",
        "mg_lakehouse/silver/rebuild.py",
        "if handle is None and not dry_run:",
        "if handle is None:",
        (f"{_LEFT}::test_what_only_reports_changes_nothing",),
    ),
    Break(
        "a lake's files are for everybody",
        "mg_lakehouse/lake/modes.py",
        "        return own | _NEW_LAKE\n",
        "        return own\n",
        (f"{_MODES}::test_all_that_a_run_of_dagster_writes_has_the_modes_of_the_setting_or_of_the_lake",),
    ),
    Break(
        "a slice that was half committed is reported twice",
        "mg_lakehouse/silver/earlier.py",
        "account.ledger.high <= own.from_version",
        "account.ledger.high >= 0",
        (f"{_UNREPORTED}::test_a_slice_that_was_half_committed_is_reported_once",),
    ),
    Break(
        "what was committed before a failure is not reported",
        "mg_lakehouse/dagster/unreported.py",
        "for record in (*failed, *",
        "for record in (*failed[:0], *",
        (f"{_UNREPORTED}::test_a_run_after_one_that_died_behind_bronzes_commit_reports_it",),
    ),
    Break(
        "a run whose bodies were all refused ends well",
        "mg_lakehouse/dagster/assets/event_feed.py",
        "    if not report.received:\n",
        "    if report.corrupted < 0:\n",
        (f"{_SURROUNDINGS}::test_a_run_whose_bodies_were_all_refused_for_their_checksums_fails",),
    ),
    Break(
        "a folder that others can write is trusted",
        "mg_lakehouse/_util/user_folders.py",
        " or found.st_mode & 0o022",
        "",
        (f"{_SURROUNDINGS}::test_a_folder_that_others_can_write_is_not_trusted_with_sql",),
    ),
)
