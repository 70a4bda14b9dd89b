"""A page about a fitted classifier."""

from pyro_ssl.report.page import REPORT, write_report

__all__ = ["REPORT", "write_report"]
