"""Running recipes, one (`trainer`), several (`race`) or many (`sweeps`), and what is recorded."""
