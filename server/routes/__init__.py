"""HTTP handlers by subject, the OpenAPI document and the pages. Decisions are made below."""
