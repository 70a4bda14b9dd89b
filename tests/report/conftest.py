from tests.estimator.conftest import few_steps  # noqa: F401
