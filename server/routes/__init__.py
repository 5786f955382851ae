"""Handlers beyond the three main calls, the OpenAPI document and the pages."""
