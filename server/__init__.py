"""The API process: auth, admission, group commit, leaderboard reads, SSE hub.

Reads MySQL but never writes it: what a submission does is the workflow's business.
"""
