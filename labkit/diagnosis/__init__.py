"""What went wrong in a run: checks of its evidence, and findings with their causes first.

Limits stand above the checks that use them. Each lies between what hundreds of healthy runs
show and what the presets show, mostly by a factor of two or more on both sides, so
that its exact value matters little.
"""
