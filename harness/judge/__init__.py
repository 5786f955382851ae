"""The end of a load run: its record, figures, judgement and result file. Not the run itself.

Knows nothing of Locust: whatever leads a run fills in a record and has it judged.
"""
