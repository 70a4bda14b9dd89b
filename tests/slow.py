"""Tests whose kind others try in less time: they run where PYRO_SSL_ALL_CHECKS is set."""

import os

import pytest

ALL = bool(os.environ.get("PYRO_SSL_ALL_CHECKS"))
slow = pytest.mark.skipif(not ALL, reason="SLOW: set PYRO_SSL_ALL_CHECKS=1")
