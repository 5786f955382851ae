"""The configuration page is what the settings say."""

from pathlib import Path

from stack.manual import configuration

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_configuration_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == configuration(), "run: python -m stack.manual"
