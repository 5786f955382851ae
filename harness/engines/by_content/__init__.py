"""Accounts of listeners where events have no ids to follow: events are known by their content."""
