"""The tests of the platform; one package, so that helpers in `tests.support` have one import name."""
