"""Tests whose kind others try in less time: they run where PYRO_SSL_ALL_CHECKS is set."""

import os

import pytest

slow = pytest.mark.skipif(
    not os.environ.get("PYRO_SSL_ALL_CHECKS"), reason="SLOW: set PYRO_SSL_ALL_CHECKS=1"
)
