"""Plain measuring: histograms, series, schedules, limits, fits and the machine's description.

Pure apart from reading clocks and the machine. Knows no socket, no server and no report;
everything else in the harness may import it.
"""
