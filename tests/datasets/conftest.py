"""Settings of the dataset tests."""

import pytest

# For readable messages of failed assertions in the base classes.
pytest.register_assert_rewrite("helpers.dataset_behavior")
