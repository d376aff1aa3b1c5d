"""The generated parts of the README are those that the program has now."""

from tests.readme import README, renewed


def test_readme_is_up_to_date() -> None:
    text = README.read_text()
    assert renewed(text) == text, "run `make readme`"
