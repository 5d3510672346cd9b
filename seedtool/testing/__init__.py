"""What the pytest plugin and `ci prepare` do: templates for tests, databases made ahead, a stand-in of one's own.

`databases` is where a test's database comes from, `pool` makes the next ones meanwhile, `standin` is the worker's
Rekognition. pytest itself is met in `seedtool.pytest_plugin` only.
"""
