import pytest

from loadstone_runner.engine.http.auth import authorization


def test_a_pair_is_basic_and_a_text_is_a_bearer_token() -> None:
    assert authorization(("Aladdin", "open sesame")) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert authorization(("jürgen", "")) == "Basic asO8cmdlbjo="
    assert authorization("mF_9.B5f-4.1JqM") == "Bearer mF_9.B5f-4.1JqM"


@pytest.mark.parametrize("auth", [("a:b", "c"), "two words", "", ("only",), ("a", 1), 7])
def test_what_would_break_the_header_is_refused(auth) -> None:
    with pytest.raises(ValueError, match="auth"):
        authorization(auth)
