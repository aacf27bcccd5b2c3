"""The version of the rules that tell machines from people stands for one set of rules."""

from __future__ import annotations

import hashlib
import re

import yaml

from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.user_agents import SCANNERS
from mg_lakehouse.settings import Settings

RULES = {1: "b1518f010c2c66d8"}
"""Digest of the rules of the newest version. Where it differs, raise `machine_rules_version` and put both here."""


def test_scanners_are_the_same_to_the_flags_and_to_the_mail_clients() -> None:
    values = yaml.safe_load((project_dir(Settings()) / "dbt_project.yml").read_text())["vars"]
    assert tuple(values["scanner_user_agents"]) == SCANNERS


def test_changed_rules_have_a_new_version() -> None:
    folder = project_dir(Settings())
    sql = (folder / "models" / "intermediate" / "int_flagged_events.sql").read_text()
    values = yaml.safe_load((folder / "dbt_project.yml").read_text())["vars"]
    named = sorted(set(re.findall(r'var\("(\w+)"\)', sql)))
    # Comments and the breaking of lines are no rules.
    code = " ".join(re.sub(r"\{#.*?#\}|--[^\n]*", " ", sql, flags=re.DOTALL).split())
    digest = hashlib.sha256(repr((code, [(name, values[name]) for name in named])).encode()).hexdigest()[:16]
    assert {values["machine_rules_version"]: digest} == RULES
