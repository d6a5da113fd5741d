"""Audit of a dataset: leaks between its splits, and what is wrong with its clips."""

from .audit import AuditReport, ConfigAudit, SplitSummary, audit_configs, audit_dataset
from .clips import Columns
from .findings import KINDS, ClipReference, Finding, FindingKind, Severity
from .report import as_dict, as_markdown, summarize, write_report
from .sources import ALL_CONFIGS, audit

__all__ = [
    "ALL_CONFIGS",
    "KINDS",
    "AuditReport",
    "ClipReference",
    "Columns",
    "ConfigAudit",
    "Finding",
    "FindingKind",
    "Severity",
    "SplitSummary",
    "as_dict",
    "as_markdown",
    "audit",
    "audit_configs",
    "audit_dataset",
    "summarize",
    "write_report",
]
