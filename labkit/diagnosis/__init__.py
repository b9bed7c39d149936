"""What ails a run: checks that look at its evidence, findings, causes first, and remedies.

Limits stand above the checks that use them. Each lies between what hundreds of healthy runs
show and what the presets show, mostly by a factor of two or more both ways, so that its
exact value matters little.
"""
