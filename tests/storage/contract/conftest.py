"""Failures of what the contract's tests share say as much as those of the tests."""

import pytest

pytest.register_assert_rewrite("tests.storage.contract.stores")
