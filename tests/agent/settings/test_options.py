from dataclasses import fields
from pathlib import Path

import pytest

from lvpack_agent.errors import Refused
from lvpack_agent.settings import receivers, share_options, table, urls
from lvpack_agent.settings.read import parse, words
from lvpack_agent.settings.table import OPTIONS
from lvpack_agent.settings.values import Compression, Grow, Settings, ShareOptions
from lvpack_agent.shares.url import parse_url


def test_nothing_of_ours_is_no_settings() -> None:
    assert parse(words("quiet console=ttyS0 root=/dev/sda1")) is None


def test_defaults_are_readable_and_last_wins() -> None:
    settings = parse(
        words("lvpack.target=nfs://h/x lvpack.action=plan lvpack.action=backup lvpack.disk=a lvpack.disk=b")
    )
    assert settings is not None
    assert settings.action == "backup"
    assert settings.disk == ("a", "b")
    assert settings.compress == Compression(method="zstd", level=0)
    assert settings.margin.of(1000) == 50
    assert settings.patience == 600 and settings.rate == 0
    limited = parse(words("lvpack.action=plan lvpack.rate=1.5M"))
    assert limited and limited.rate == 3 << 19


@pytest.mark.parametrize(
    "word",
    [
        "lvpack.tarpet=nfs://h/x",
        "lvpack.action",
        "lvpack.action=back-up",
        "lvpack.target=h:/x",
        "lvpack.target=nfs://h",
        "lvpack.target=nfs://h/a/../b",
        "lvpack.target=gopher://h/x",
        "lvpack.target=nfs://h:0/x",
        "lvpack.target=nfs://h:99999/x",
        "lvpack.target=nfs://h:\uff12\uff10/x",
        "lvpack.target=nfs://[1.2.3.4]/x",
        "lvpack.target=nfs://[::1/x",
        "lvpack.target=nfs://a..b/x",
        f"lvpack.target=nfs://{'a' * 64}/x",
        "lvpack.target=nfs://h/a/%2e%2e/b",
        "lvpack.target=nfs://h/a#b",
        "lvpack.target=nfs://h/%ff",
        "lvpack.target=nfs://h/%00",
        "lvpack.target=smb://h",
        "lvpack.source=smb://h/share",
        "lvpack.target=smb://u@h/share",
        "lvpack.target=file:///x",
        "lvpack.target=file://a%2fb/x",
        "lvpack.source=file://STICK",
        "lvpack.share=colour=red",
        "lvpack.share=user",
        "lvpack.share=seal=yes",
        "lvpack.share=user=a,user=b",
        "lvpack.share=user=a\\b",
        "lvpack.secrets=all",
        "lvpack.disk=/dev/\0sda",
        f"lvpack.margin={'9' * 400}",
        f"lvpack.margin={'9' * 400}%",
        f"lvpack.margin={1 << 63}",
        "lvpack.margin=5percent",
        "lvpack.margin=-5%",
        "lvpack.patience=soon",
        "lvpack.patience=8d",
        "lvpack.patience=200h",
        "lvpack.share=parts=0",
        "lvpack.share=parts=10001",
        "lvpack.share=parts=1_0",
        "lvpack.share=proxy=http://h",
        "lvpack.share=proxy=https://h:1",
        "lvpack.share=proxy=http://h:1/x",
        "lvpack.share=proxy=http://h:0",
        "lvpack.share=proxy=http://[::x]:1",
        "lvpack.rate=fast",
        "lvpack.rate=0",
        "lvpack.rate=63K",
        "lvpack.rate=50M/s",
        "lvpack.compress=zstd:20",
        "lvpack.compress=zstd:",
        "lvpack.compress=xz:1",
        "lvpack.name=../x",
        "lvpack.name=x.partial",
        "lvpack.overwrite=true",
        "lvpack.mode=in-place",
        "lvpack.scratch=disk",
        "lvpack.disk=",
        "lvpack.grow=original",
        "lvpack.grow=",
        "lvpack.grow=root",
        "lvpack.grow==5G",
        "lvpack.grow=root=",
        "lvpack.grow=root=5X",
        "lvpack.grow=root=101%",
        "lvpack.grow=root=-5G",
        "lvpack.grow=root=5G,",
        "lvpack.grow=root=5G,root=max",
        "lvpack.grow=root=fill",
        "lvpack.grow=fill,root=5G",
        "lvpack.notify=",
        "lvpack.notify=hooks.example/x",
        "lvpack.notify=nfs://h/x",
        "lvpack.notify=https://",
        "lvpack.notify=https:///x",
        "lvpack.notify=https://h:0/x",
        "lvpack.notify=https://h:99999/x",
        "lvpack.notify=https://[1.2.3.4]/x",
        "lvpack.notify=https://h/\xfc",
        "lvpack.notify=https://h/x#y",
        "lvpack.notify=https://h/a b",
        "lvpack.notify=https://h/'x'",
        "lvpack.notify=https://h/$x",
        "lvpack.notify=https://h/%x",
        "lvpack.notify=https://h/{status}",
        "lvpack.notify=get+https://h/x",
        "lvpack.notify=get+https://h/{name}",
        "lvpack.notify=get+https://h/{status}/{colour}",
        "lvpack.notify=get+https://h/{status",
        "lvpack.notify=post+https://h/x",
        "lvpack.notify=secret:",
        "lvpack.notify=secret:smb",
        "lvpack.notify=secret:notify-5",
    ],
)
def test_wrong_words_are_refused_by_name(word: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(["lvpack.action=plan", word])
    assert word.partition("=")[0] in refused.value.message
    assert refused.value.hint


def grown(text: str) -> Grow:
    settings = parse(words(f"lvpack.action=plan {text}"))
    assert settings
    return settings.grow


def test_policies_and_rules_of_growing() -> None:
    assert grown("") == grown("lvpack.grow=source") == Grow(policy="source")
    assert [grown(f"lvpack.grow={policy}").policy for policy in ("fill", "none")] == ["fill", "none"]
    found = grown('"lvpack.grow=/var=20G,vg-1/a=b=+1.5G,home=12.5%,swap=ram,x=max,y=source,z=packed"')
    assert found.policy == "source" and str(found).startswith("/var=20G,vg-1/a=b=+1.5G")
    assert [(rule.name, rule.how, rule.size, rule.percent) for rule in found.rules] == [
        ("/var", "size", 20 << 30, 0),
        ("vg-1/a=b", "plus", 3 << 29, 0),
        ("home", "share", 0, 12.5),
        ("swap", "ram", 0, 0),
        ("x", "max", 0, 0),
        ("y", "source", 0, 0),
        ("z", "packed", 0, 0),
    ]


def test_addresses_of_servers_that_there_are() -> None:
    for server in ("h", "h:1", "h.example.:65535", "10.0.2.2:2049", "[fe80::1]", "[::ffff:10.0.0.1]:20049", "my_nas"):
        settings = parse(["lvpack.action=plan", f"lvpack.target=nfs://{server}/a%20b/%C3%BC"])
        assert settings and parse_url(settings.target).path == "/a b/\xfc"


def test_shares_of_each_scheme() -> None:
    words = ["lvpack.action=verify", "lvpack.share=user=u,domain=d,seal"]
    settings = parse([*words, "lvpack.source=smb://[fe80::1]:1445/vault/a%20b/one"])
    assert settings and settings.share == ShareOptions(user="u", domain="d", seal=True)
    url, name = parse_url(settings.source).parent()
    assert (url.host, url.port, url.path, name) == ("fe80::1", 1445, "/vault/a b", "one")
    assert str(url) == "smb://[fe80::1]:1445/vault/a b"
    settings = parse(["lvpack.action=verify", "lvpack.source=file://My%20Stick:1/sets/one"])
    assert settings and settings.share == ShareOptions()
    url, name = parse_url(settings.source).parent()
    assert (url.host, url.port, url.path, name) == ("My Stick:1", None, "/sets", "one")
    assert parse_url("file://STICK").path == "/" and str(parse_url("file://A:b/c")) == "file://A:b/c"


SECRET = "Sesame"


@pytest.mark.parametrize(
    "word",
    [
        f"lvpack.target=smb://user:{SECRET}@h/share",
        f"lvpack.target=smb://user:{SECRET}/{SECRET}@{SECRET}@h/share",
        f"lvpack.target=nfs://user:{SECRET}@h/x",
        f"lvpack.source=file://user:{SECRET}@h/x",
        f"lvpack.share=user=u,password={SECRET}",
        f"lvpack.share=pass={SECRET},user=u",
        f"lvpack.share=user=u%{SECRET}",
        f"lvpack.share=user=u:{SECRET}",
        f"lvpack.share=proxy=http://user:{SECRET}@h:1",
        f"lvpack.password={SECRET}",
        f"lvpack.notify=https://user:{SECRET}@h/x",
        f"lvpack.notify=https://user:{SECRET}/{SECRET}@h/{SECRET}@x",
        f"lvpack.notify=https://h/{SECRET} x",
        f"lvpack.notify=https://h/x?token={SECRET}#",
        f"lvpack.notify=get+https://h/{SECRET}",
        f"lvpack.notify=htps://h/{SECRET}",
        f"lvpack.notify=secret:https://h/{SECRET}",
        f"lvpack.notify={SECRET}",
        f"lvpack.notify:https://h/{SECRET}=x",
        f"lvpack.notify:https://h/{SECRET}",
    ],
)
def test_a_secret_in_an_option_is_refused_and_not_shown(word: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(["lvpack.action=plan", word])
    assert SECRET not in refused.value.message + refused.value.hint
    for line in (f"password = {SECRET}", f"lvpack.notify https://h/{SECRET}", f"notify = https://h/{SECRET}"):
        with pytest.raises(Refused) as refused:
            parse(["lvpack.action=plan", "lvpack.config=nfs://h/x/f"], lambda _, line=line: line)  # type: ignore[misc]
        assert SECRET not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("text", ["notifyd01", "lvpack.notifyd=on", "notify", "lvpack.notify-all", "notify_x"])
def test_what_only_begins_as_a_receiver_does_is_shown(text: str) -> None:
    assert urls.masked(text) == text
    assert SECRET not in urls.masked(f"{text}:https://h/{SECRET}") + urls.masked(f"{text}h/{SECRET}")


def test_receivers_of_each_kind() -> None:
    def read(text: str) -> tuple[object, ...]:
        found = receivers.of_url(text)
        return found.get, found.scheme, found.host, found.port, found.target

    assert read("https://hooks.example/a?c=%20&d=;") == (False, "https", "hooks.example", None, "/a?c=%20&d=;")
    assert read("http://[fe80::1]:8080") == (False, "http", "fe80::1", 8080, "/")
    assert read("get+https://h:1?s={status}&m={message}") == (True, "https", "h", 1, "/?s={status}&m={message}")
    urls = ["https://h/x", "secret:notify", "secret:notify-4", "get+http://h/{exit}"]
    settings = parse(["lvpack.action=plan", *(f"lvpack.notify={url}" for url in urls)])
    assert settings and settings.notify == tuple(urls)
    settings = parse(["lvpack.action=plan"])
    assert settings and settings.notify == ()


def test_a_file_of_options_has_receivers_too_unless_the_command_line_has() -> None:
    text = "lvpack.notify = https://h/a?b=c\nlvpack.notify = secret:notify # of all hosts\n"
    words = ["lvpack.action=plan", "lvpack.config=nfs://h/x/f"]
    settings = parse(words, lambda _: text)
    assert settings and settings.notify == ("https://h/a?b=c", "secret:notify")
    settings = parse([*words, "lvpack.notify=https://h/z"], lambda _: text)
    assert settings and settings.notify == ("https://h/z",)


def test_the_page_has_each_word_in_braces() -> None:
    page = Path(__file__).parents[3] / "docs/notify.md"
    assert receivers.placeholders_as_markdown() in page.read_text()


def test_what_is_no_secret_is_shown() -> None:
    """An LV may be called so."""
    with pytest.raises(Refused, match=r"'lvpack\.grow=user=50%,user=10%': two rules name 'user'"):
        parse(["lvpack.action=restore", "lvpack.source=nfs://h/x/one", "lvpack.grow=user=50%,user=10%"])


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("lvpack.target=nfs://h/x lvpack.share=user=u", "share=user"),
        ("lvpack.target=file://STICK lvpack.share=seal", "share=seal"),
        ("lvpack.target=smb://h/s lvpack.readers=group", "readers=group"),
        ("lvpack.target=smb://h/s lvpack.scratch=share", "scratch=share"),
        ("lvpack.target=smb://h/s lvpack.mode=inplace", "smb://"),
    ],
)
def test_what_a_share_cannot_do_is_refused_by_name(line: str, option: str) -> None:
    with pytest.raises(Refused, match=option) as refused:
        parse(words(line))
    assert refused.value.hint


def test_the_page_has_each_option_of_a_share() -> None:
    page = Path(__file__).parents[3] / "docs/shares.md"
    assert share_options.as_markdown() in page.read_text()
    assert [option.name.replace("-", "_") for option in share_options.SHARE_OPTIONS] == [
        field.name for field in fields(ShareOptions)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "lvpack.mode=inplace lvpack.scratch=ram",
        "lvpack.mode=inplace lvpack.errors=skip",
        "lvpack.dump=no",
        "lvpack.regrow=yes",
        "lvpack.mode=inplace lvpack.dump=no lvpack.regrow=yes",
        "lvpack.mode=inplace lvpack.readback=no lvpack.regrow=yes",
    ],
)
def test_options_that_contradict_each_other_are_refused(line: str) -> None:
    with pytest.raises(Refused, match=r"lvpack\.(scratch|dump|regrow|errors)=") as refused:
        parse(words("lvpack.target=nfs://h/x " + line))
    assert refused.value.hint


def test_missing_target_is_refused() -> None:
    with pytest.raises(Refused, match=r"lvpack\.target"):
        parse(["lvpack.action=backup"])


def test_quotes_as_in_the_kernel() -> None:
    assert words('a "b c" lvpack.disk="x y" d') == ["a", "b c", "lvpack.disk=x y", "d"]


def test_help_has_each_option_once_and_fits_a_terminal() -> None:
    lines = table.as_text().splitlines()
    named = [word for line in lines for word in line.split() if word.startswith("lvpack.")]
    assert sorted(named) == sorted(f"lvpack.{option.name}" for option in OPTIONS)
    assert {option.group for option in OPTIONS} == set(table.GROUPS)
    assert max(len(line) for line in lines) <= 80


def test_table_names_every_option_and_the_docs_have_it() -> None:
    assert [option.name for option in OPTIONS] == [field.name for field in fields(Settings)]
    assert all(f"`lvpack.{option.name}`" in table.as_markdown() for option in OPTIONS)
    page = Path(__file__).parents[3] / "docs/options.md"
    assert page.read_text().endswith(table.as_markdown()), "run: lvpack options, and put its table into docs/options.md"


def test_a_file_of_options_and_the_command_line_wins() -> None:
    text = (
        "# all hosts\nlvpack.margin = 1G\n\nlvpack.name= one # a name\nlvpack.disk = /dev/sda\nlvpack.disk = /dev/sdb\n"
    )
    arguments = ["lvpack.action=plan", "lvpack.config=nfs://h/x/f", "lvpack.name=two"]
    settings = parse(arguments, lambda known: {"nfs://h/x/f": text}[known.config])
    assert settings and settings.margin.size == 1 << 30
    assert (settings.name, settings.disk) == ("two", ("/dev/sda", "/dev/sdb"))
    settings = parse([*arguments, "lvpack.disk=/dev/sdc"], lambda _: text)
    assert settings and settings.disk == ("/dev/sdc",)


@pytest.mark.parametrize("line", ["margin = 1G", "lvpack.margin", "lvpack.config = nfs://h/x/g", "lvpack.colour = red"])
def test_wrong_lines_of_a_file_are_refused(line: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(["lvpack.action=plan", "lvpack.config=nfs://h/x/f"], lambda _: line)
    assert refused.value.hint
