"""Results for people: terminal summary, HTML pages, plots, RESULTS.md, comparison of two runs.

Renders finished result documents. It measures nothing and judges nothing.
"""
