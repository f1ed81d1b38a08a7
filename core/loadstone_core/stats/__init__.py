"""Count and time what a run did: histograms, series, streams, and the exact merge of all of them.

What the numbers mean for the run (thresholds, verdict) lives in `loadstone_core.verdict`; how they travel lives in the
protocol package. Nothing here reads a clock: every moment is an argument.
"""
