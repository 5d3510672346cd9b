"""What the pytest plugin does: databases made ahead for tests, and a stand-in for Rekognition of the worker's own.

`databases` is where a test's database comes from, `pool` makes the next ones meanwhile, `standin` is the worker's
Rekognition. pytest itself is met in `seedtool.pytest_plugin` only.
"""
