"""Side by side with peers, printed as ratios: ``python -m tests.benchmarks [shooting|surfaces] [--help]``."""
