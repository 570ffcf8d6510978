"""Settings: the grammar of secrets and tokens, precedence, and every problem at once."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from receiving import HOOKLAKE, environment

from ingest.errors import SettingsError
from ingest.settings import (
    Settings,
    ensure_credentials,
    load_settings,
    parse_named_secrets,
    unknown_variables,
)

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file of the machine has a say."""
    for name in list(os.environ):
        if name.startswith("HOOKLAKE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def named(text: str) -> list[tuple[str, str]]:
    return [(entry.name, entry.value) for entry in parse_named_secrets(text, "secret")]


def problems(**variables: str) -> list[str]:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        for name, value in variables.items():
            context.setenv(f"HOOKLAKE_{name.upper()}", value)
        with pytest.raises(SettingsError) as refused:
            load_settings()
    assert refused.value.exit_code == 2
    return refused.value.problems


# -- secrets and tokens --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [("secret-1", "plain")]),
        ("a,b", [("secret-1", "a"), ("secret-2", "b")]),
        (" a , b ", [("secret-1", "a"), ("secret-2", "b")]),
        ("new=s3cret,old=other", [("new", "s3cret"), ("old", "other")]),
        ("new=a=b==", [("new", "a=b==")]),
        (WHSEC, [("secret-1", WHSEC)]),
        (f"{WHSEC[:-1]}w==", None),
        ("whsec_AAAAAAAAAAAAAAAAAAAAAA==", [("secret-1", "whsec_AAAAAAAAAAAAAAAAAAAAAA==")]),
        (f"gateway={WHSEC}", [("gateway", WHSEC)]),
        ("a-b_9=x", [("a-b_9", "x")]),
        ("name=", [("secret-1", "name=")]),
        ("=value", [("secret-1", "=value")]),
        ("Name=value", [("secret-1", "Name=value")]),
        ("a b=value", [("secret-1", "a b=value")]),
        (f"{'n' * 32}=v", [("n" * 32, "v")]),
        (f"{'n' * 33}=v", [("secret-1", f"{'n' * 33}=v")]),
        ("It's a Secret to Everybody", [("secret-1", "It's a Secret to Everybody")]),
    ],
)
def test_an_entry_is_a_value_or_a_name_and_a_value(
    text: str, expected: list[tuple[str, str]] | None
) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="base64"):
            named(text)
    else:
        assert named(text) == expected


@pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", "a, ,b"])
def test_an_empty_list_or_entry_is_refused(text: str) -> None:
    for name in ("secrets", "tokens"):
        (problem,) = problems(**{name: text, "verify": "github,token"})
        assert problem.startswith(f"HOOKLAKE_{name.upper()}: ")
        assert "empty" in problem


@pytest.mark.parametrize(
    "key",
    [
        "whsec_",
        "whsec_AAAA",
        "whsec_AAAAAAAAAAAAAAAAAAAA",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsec_MfKQ9r8GKYqrTwjUPD8I LPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=",
        "whsec_MfKQ-r8GKYqrTwjUPD8ILPZIo2_aLaSw",
        "name=whsec_AAAA",
    ],
)
def test_a_whsec_key_is_strict_base64_of_at_least_16_bytes(key: str) -> None:
    (problem,) = problems(secrets=key)
    assert "16 bytes" in problem
    assert key.partition("whsec_")[2] not in problem or key == "whsec_"


def test_standard_needs_a_whsec_secret_and_other_schemes_do_not() -> None:
    assert "whsec_" in problems(secrets="plain")[0]
    assert "whsec_" in problems(secrets="plain", verify="github,standard")[0]
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setenv("HOOKLAKE_SECRETS", "plain")
        context.setenv("HOOKLAKE_VERIFY", "github,token")
        assert load_settings().secrets[0].value == "plain"
        context.setenv("HOOKLAKE_VERIFY", "standard,github")
        context.setenv("HOOKLAKE_SECRETS", f"plain,{WHSEC}")
        assert len(load_settings().secrets) == 2


def test_two_entries_of_one_name_are_refused() -> None:
    assert "'a'" in problems(tokens="a=1,a=2")[0]


# -- all at once, without the secrets ------------------------------------------------------------


def test_every_problem_is_reported_at_once_and_no_value_of_a_secret() -> None:
    found = problems(
        node="N 1",
        port="65536",
        dashboard_port="many",
        verify="standard,magic",
        secrets="hush-hush,,",
        tokens="whsec_hush",
        hmac_header="X Y",
        hmac_template="{timestamp}",
        hmac_algorithm="md5",
        log_level="loud",
        queue_records_max="0",
    )

    names = {problem.partition(":")[0].removeprefix("HOOKLAKE_").lower() for problem in found}
    assert names == {
        "node",
        "port",
        "dashboard_port",
        "verify",
        "secrets",
        "tokens",
        "hmac_header",
        "hmac_template",
        "hmac_algorithm",
        "log_level",
        "queue_records_max",
    }
    assert "hush" not in str(found)


@pytest.mark.parametrize("verify", ["", ",", "standard,", "Standard,magic", "standard token"])
def test_only_known_schemes_are_taken(verify: str) -> None:
    assert problems(verify=verify)[0].startswith("HOOKLAKE_VERIFY: ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "x.example", ""])  # noqa: S104
def test_the_scheme_none_is_for_a_loopback_address_only(host: str) -> None:
    assert "loopback" in problems(verify="none", host=host)[0]
    assert "loopback" in problems(verify="token,none", host=host)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_scheme_none_is_taken_on_loopback(host: str) -> None:
    assert load_settings(host=host, verify="none").verify == ("none",)


@pytest.mark.parametrize("node", ["n1", "a", "a-9", "x" * 32])
def test_a_node_has_1_to_32_small_letters_digits_and_hyphens(node: str) -> None:
    assert load_settings(node=node).node == node
    for wrong in ("", "x" * 33, "N1", "a_b", "a/b", "../x", "n1\n"):
        with pytest.raises(SettingsError):
            load_settings(node=wrong)


def test_secrets_are_in_no_repr() -> None:
    settings = load_settings(secrets=f"name={WHSEC}", tokens="hush-hush")

    assert "hush" not in repr(settings)
    assert WHSEC not in repr(settings)
    assert WHSEC not in str(settings.secrets)


def test_the_defaults_are_the_agreed_ones() -> None:
    settings = load_settings()

    assert (settings.host, settings.port, settings.node) == ("127.0.0.1", 8080, "n1")
    assert (settings.dashboard_host, settings.dashboard_port) == ("127.0.0.1", 8501)
    assert settings.verify == ("standard", "token")
    assert settings.body_bytes_max == 1_048_576
    assert (settings.secrets, settings.tokens) == ((), ())


def test_a_misspelt_variable_is_noticed() -> None:
    assert unknown_variables({"HOOKLAKE_SECRET": "x", "HOOKLAKE_PORT": "1", "PATH": ""}) == [
        "HOOKLAKE_SECRET"
    ]


# -- precedence and files ------------------------------------------------------------------------


def test_the_environment_goes_before_dotenv_which_goes_before_secrets_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "secrets.env").write_text("HOOKLAKE_TOKENS=from-secrets\nHOOKLAKE_NODE=s\n")
    assert load_settings(data).tokens[0].value == "from-secrets"
    (tmp_path / ".env").write_text("HOOKLAKE_TOKENS=from-dotenv\nHOOKLAKE_PORT=1234\n")
    assert load_settings(data).tokens[0].value == "from-dotenv"
    monkeypatch.setenv("HOOKLAKE_TOKENS", "from-environment")
    settings = load_settings(data)
    assert settings.tokens[0].value == "from-environment"
    assert (settings.port, settings.node) == (1234, "s")
    assert load_settings(data, port=99).port == 99


def test_the_data_directory_may_come_from_dotenv_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HOOKLAKE_DATA_DIR=elsewhere\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secrets.env").write_text("HOOKLAKE_TOKENS=found\n")
    settings = load_settings()
    assert (settings.data_dir, settings.tokens[0].value) == (Path("elsewhere"), "found")
    monkeypatch.setenv("HOOKLAKE_DATA_DIR", str(tmp_path / "third"))
    assert load_settings().data_dir == tmp_path / "third"
    assert load_settings(tmp_path / "given").data_dir == tmp_path / "given"


def test_a_set_but_empty_variable_is_refused_whatever_the_files_say(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"HOOKLAKE_TOKENS=fine\nHOOKLAKE_SECRETS={WHSEC}\n")

    assert "empty" in problems(tokens="")[0]
    assert "empty" in problems(secrets="")[0]


@pytest.mark.parametrize("name", [".env", "data/secrets.env"])
def test_a_file_that_is_no_text_is_a_settings_problem(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_bytes(b"HOOKLAKE_TOKENS=\xff\xfehush\n")
    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert Path(name).name in str(refused.value)
    assert "hush" not in str(refused.value)


# -- credentials made at the first start ---------------------------------------------------------


def test_what_is_unset_is_made_once_and_kept_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = ensure_credentials(load_settings(data))
    again = ensure_credentials(load_settings(data))

    assert set(made.made) == {"secrets", "tokens"}
    assert again.made == ()
    assert (made.settings.secrets, made.settings.tokens) == (
        again.settings.secrets,
        again.settings.tokens,
    )
    key = made.settings.secrets[0].standard_key
    assert key is not None
    assert len(key) >= 24
    assert len(made.settings.tokens[0].value) >= 32
    assert stat.S_IMODE((data / "secrets.env").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_only_what_is_missing_and_needed_is_made_and_the_rest_of_the_file_stays(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "secrets.env").write_text("# mine\nHOOKLAKE_TOKENS=mine")
    assert ensure_credentials(load_settings(data)).made == ("secrets",)
    text = (data / "secrets.env").read_text()
    assert text.startswith("# mine\nHOOKLAKE_TOKENS=mine\nHOOKLAKE_SECRETS=whsec_")

    other = tmp_path / "other"
    assert ensure_credentials(load_settings(other, verify="token")).made == ("tokens",)
    assert ensure_credentials(load_settings(tmp_path / "third", verify="none")).made == ()
    assert not (tmp_path / "third").exists()


def test_given_credentials_make_none(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "data", secrets=WHSEC, tokens="mine")

    assert ensure_credentials(settings).made == ()
    assert isinstance(settings, Settings)
    assert not (tmp_path / "data" / "secrets.env").exists()


def test_the_command_lists_all_problems_and_exits_2_without_starting(tmp_path: Path) -> None:
    done = subprocess.run(
        [HOOKLAKE, "serve", "--data-dir", tmp_path / "data"],
        env=environment(secrets="", tokens="hush,", port="0x10"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    for name in ("HOOKLAKE_SECRETS", "HOOKLAKE_TOKENS", "HOOKLAKE_PORT"):
        assert name in done.stderr
    assert "hush" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_secret_in_a_file_is_taken_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("HOOKLAKE_TOKENS=a${HOME}b\n")
    (token,) = load_settings(tmp_path / "data").tokens
    assert token.value == "a${HOME}b"


def test_scheme_hmac_needs_the_names_of_its_headers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HOOKLAKE_HMAC_HEADER: scheme 'hmac' needs"):
        load_settings(tmp_path, verify="hmac", hmac_header="")


def test_a_file_of_secrets_that_cannot_be_read_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secrets.env").touch()
    monkeypatch.setattr("ingest.settings.dotenv_values", refused)
    with pytest.raises(SettingsError, match=r"secrets.env cannot be read: .*; run this as"):
        load_settings(tmp_path)
